/* Runs an .ounce model on zeros and prints what comes out: the C interface from end to end.
 *
 *   cc -std=c99 run_model.c $(pkg-config --cflags --libs ounce) -o run_model
 *   ./run_model model.ounce [THREADS] */
#include <ounce.h>
#include <stdio.h>
#include <stdlib.h>

/* Says what failed; 1 if something did. */
static int failed(int status, const char* doing) {
  if (status == OUNCE_OK) return 0;
  fprintf(stderr, "run_model: %s: %s: %s\n", doing, ounce_error_text(status), ounce_last_error());
  return 1;
}

static void print_shape(const int64_t* shape, size_t rank) {
  printf("[");
  for (size_t i = 0; i < rank; ++i) printf("%s%lld", i == 0 ? "" : ", ", (long long)shape[i]);
  printf("]");
}

/* Gives input `index` zeros of its declared shape, open sizes taken as 1. Returns what the model
 * now reads, to be freed after the last run; NULL if something failed. */
static float* set_zeros(ounce_model* model, size_t index) {
  ounce_port port;
  if (failed(ounce_input(model, index, &port), "asking for an input")) return NULL;
  printf("input %s ", port.name);
  print_shape(port.shape, port.rank);
  printf("\n");
  if (port.dtype != OUNCE_F32 || port.rank > 8) {
    fprintf(stderr, "run_model: input %s is no f32 of up to 8 dimensions\n", port.name);
    return NULL;
  }
  int64_t shape[8];
  size_t count = 1;
  for (size_t i = 0; i < port.rank; ++i) {
    shape[i] = port.shape[i] < 0 ? 1 : port.shape[i];
    count *= (size_t)shape[i];
  }
  float* zeros = calloc(count, sizeof(float));
  if (zeros == NULL) return NULL;
  const ounce_tensor tensor = {port.dtype, port.rank, shape, zeros, count * sizeof(float)};
  if (!failed(ounce_set_input(model, index, &tensor), "setting an input")) return zeros;
  free(zeros);
  return NULL;
}

static int print_outputs(const ounce_model* model) {
  size_t count = 0;
  if (failed(ounce_output_count(model, &count), "counting outputs")) return 1;
  for (size_t i = 0; i < count; ++i) {
    ounce_port port;
    ounce_tensor tensor;
    if (failed(ounce_output(model, i, &port), "asking for an output") ||
        failed(ounce_get_output(model, i, &tensor), "reading an output")) {
      return 1;
    }
    printf("output %s ", port.name);
    print_shape(tensor.shape, tensor.rank);
    if (tensor.dtype == OUNCE_F32 && tensor.bytes > 0) {
      printf(" begins with %g", (double)*(const float*)tensor.data);
    }
    printf("\n");
  }
  return 0;
}

static int run(ounce_model* model) {
  size_t count = 0;
  if (failed(ounce_input_count(model, &count), "counting inputs")) return 1;
  float** zeros = calloc(count + 1, sizeof(*zeros));
  int status = zeros == NULL;
  for (size_t i = 0; status == 0 && i < count; ++i) {
    zeros[i] = set_zeros(model, i);
    status = zeros[i] == NULL;
  }
  if (status == 0) status = failed(ounce_run(model), "running");
  if (status == 0) status = print_outputs(model);
  for (size_t i = 0; zeros != NULL && i < count; ++i) free(zeros[i]);
  free(zeros);
  return status;
}

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: run_model MODEL.ounce [THREADS]\n");
    return 2;
  }
  ounce_options options = {0};
  if (argc > 2) options.threads = atoi(argv[2]);
  ounce_model* model = NULL;
  if (failed(ounce_load_file(argv[1], &options, &model), "loading")) return 1;
  const int status = run(model);
  ounce_free(model);
  return status;
}
