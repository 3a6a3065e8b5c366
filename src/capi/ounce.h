/* ounce: runs .ounce models. The C interface of the runtime; docs/embedding.md shows it in use.
 *
 * Every function that can fail returns OUNCE_OK or another ounce_status, and then changes nothing
 * that it was given. ounce_error_text says what a status means, ounce_last_error what exactly was
 * wrong. No argument crashes, as long as what is no NULL points where it should; no C++ exception
 * gets out.
 *
 * A model may be used by one thread at a time; different models by different threads at once. */
#ifndef OUNCE_H
#define OUNCE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ounce_status {
  OUNCE_OK = 0,
  OUNCE_BAD_ARGUMENT = 1,  /* NULL, or out of range, or not what the model's input is */
  OUNCE_BAD_FILE = 2,      /* the file is missing or cannot be read */
  OUNCE_BAD_MODEL = 3,     /* no .ounce model, or damaged, or of an unknown version */
  OUNCE_CANNOT_RUN = 4,    /* the model does not work out, or not on inputs of these shapes */
  OUNCE_NOT_READY = 5,     /* inputs are missing, or nothing has run yet */
  OUNCE_OUT_OF_MEMORY = 6, /* or out of threads */
  OUNCE_FAILED = 7         /* anything else */
} ounce_status;

/* Types of elements. Those of less than a byte hold several elements a byte, the first one in the
 * lowest bits. */
typedef enum ounce_dtype {
  OUNCE_F32 = 1,
  OUNCE_F16 = 2,
  OUNCE_BF16 = 3,
  OUNCE_F64 = 4,
  OUNCE_I64 = 5,
  OUNCE_I32 = 6,
  OUNCE_I16 = 7,
  OUNCE_I8 = 8,
  OUNCE_U64 = 9,
  OUNCE_U32 = 10,
  OUNCE_U16 = 11,
  OUNCE_U8 = 12,
  OUNCE_BOOL = 13,
  OUNCE_U4 = 14,
  OUNCE_I4 = 15,
  OUNCE_I3 = 16,
  OUNCE_I2 = 17,
  OUNCE_U1 = 18
} ounce_dtype;

/* A model that is loaded and ready to run. */
typedef struct ounce_model ounce_model;

/* All zero is the default. */
typedef struct ounce_options {
  int threads; /* that a run uses, the caller included; 0 is 1; at most 1024 */
} ounce_options;

/* A dense row-major array. */
typedef struct ounce_tensor {
  int32_t dtype; /* an ounce_dtype */
  size_t rank;
  const int64_t* shape; /* [rank]; may be NULL for rank 0 */
  const void* data;
  size_t bytes; /* of `data`: just what dtype and shape need */
} ounce_tensor;

/* What a model takes or gives. Pointers are valid until the model is freed. */
typedef struct ounce_port {
  const char* name;
  int32_t dtype;        /* an ounce_dtype */
  size_t rank;          /* or OUNCE_UNKNOWN_RANK */
  const int64_t* shape; /* [rank]; -1 where the model leaves the size open */
} ounce_port;

#define OUNCE_UNKNOWN_RANK ((size_t)-1)

/* "0.1.0" */
const char* ounce_version(void);

/* One line on what `status` means; never NULL, whatever the number. */
const char* ounce_error_text(int status);

/* One line on the last failure of a function on this thread: what was expected, what came. Empty
 * when none has failed. Valid until the next failure on this thread. */
const char* ounce_last_error(void);

/* Loads a model; *model is NULL afterwards if that fails. The file is mapped: it must not be
 * changed in place while the model lives. `options` may be NULL. */
int ounce_load_file(const char* path, const ounce_options* options, ounce_model** model);

/* The same from memory, which is not copied: it must stay as it is until the model is freed. Give
 * it an alignment of 64 bytes where you can; weights are then used in place. */
int ounce_load_memory(const void* data, size_t bytes, const ounce_options* options,
                      ounce_model** model);

/* Frees a model and all that was borrowed from it. NULL is allowed. */
void ounce_free(ounce_model* model);

int ounce_input_count(const ounce_model* model, size_t* count);
int ounce_output_count(const ounce_model* model, size_t* count);
int ounce_input(const ounce_model* model, size_t index, ounce_port* port);
int ounce_output(const ounce_model* model, size_t index, ounce_port* port);

/* Says where input `index` lies. Its data are not copied: they are read by each ounce_run that
 * follows, so filling the same memory again and running is enough for the next picture. `tensor`
 * itself and its shape may go. */
int ounce_set_input(ounce_model* model, size_t index, const ounce_tensor* tensor);

/* Runs the model on its inputs. The first run on inputs of new shapes plans and packs, later ones
 * only compute. */
int ounce_run(ounce_model* model);

/* Output `index` of the last run. All it points to is valid until the next ounce_run of the model,
 * or until it is freed. */
int ounce_get_output(const ounce_model* model, size_t index, ounce_tensor* tensor);

#ifdef __cplusplus
}
#endif

#endif
