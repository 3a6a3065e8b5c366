#pragma once

#include "engine/kernels/blocking/implicit_gemm.h"
#include "engine/kernels/codes/packed_codes.h"

namespace ounce::engine {

/// Product of given rows with packed codes: panels are unpacked once a task. Zero points are those
/// of columns; 8-bit codes have none.
void implicit_gemm_u8_codes(const Context& context, const RowSource<uint8_t>& rows,
                            const PackedCodes& b, const IntegerEpilogue& epilogue);
size_t implicit_gemm_u8_codes_scratch_bytes(const PackedCodes& b, int threads);

/// The epilogue of the rows from `first` on: all pointers of the output moved there.
IntegerEpilogue epilogue_of_rows(const IntegerEpilogue& epilogue, int64_t first);

/// Bytes of a panel in the layout of the 8-bit product, and of one with the sums of its groups.
int64_t unpacked_panel_bytes(const PackedCodes& b);
int64_t group_panel_bytes(const PackedCodes& b);

}  // namespace ounce::engine
