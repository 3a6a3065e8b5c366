#pragma once

#include <ATen/ATen.h>

namespace ounce::methods {

struct RankingOptions {
  double margin = 0.1;  // share of the deviation of the student's row
  double tie = 0.05;    // share of the deviation of the teacher's: closer pairs are left out
};

/// Ranking-aware distillation (Bi-ViT, arXiv 2305.12354, sheet section 4.4): the student's
/// attention scores [.., keys] shall have the teacher's order, row by row. The mean over pairs (j,
/// m) of
///   max(0, theta - (S_j - S_m) sign(T_j - T_m)),   theta = margin * deviation of S (a constant),
/// of which each row has 4 an entry: the two keys that the teacher scores highest against all, and
/// every key against those two shifts away that the row's number draws. Rows of a student that
/// scores all alike have a small margin of their own, so that they learn, too. A scalar.
at::Tensor ranking_loss(const at::Tensor& student, const at::Tensor& teacher,
                        const RankingOptions& options = {});

/// How far two sets of scores [.., keys] agree on the order of keys (as Kendall's tau): over all
/// pairs of a row that `teacher` tells apart the mean of +1 for the same order, -1 for the other, 0
/// for no order in `student`.
double order_agreement(const at::Tensor& student, const at::Tensor& teacher);

/// Share of the rows [.., keys] whose entries are all the same: such a map looks nowhere.
double constant_rows(const at::Tensor& map);

}  // namespace ounce::methods
