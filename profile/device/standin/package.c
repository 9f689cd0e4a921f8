#include "package.h"

#include <string.h>

#include "flat.h"

/* Fields of the tables, by their numbers in the schema. */
enum { kPackageMinRuntime = 0, kPackageExecutables = 1 };
enum { kMultiExecutables = 0 };
enum {
  kExecutableBatch = 3,
  kExecutableInstructions = 5,
  kExecutableParameters = 6,
  kExecutableHints = 7,
  kExecutableInputs = 8,
  kExecutableOutputs = 9,
  kExecutableCycles = 11,
  kExecutableType = 13,
  kExecutableToken = 14,
  kExecutableCycles64 = 16,
};
enum { kStreamBytes = 0 };
enum { kLayerBytes = 1 };
enum { kHintsList = 0, kHintsWhole = 1 };
enum { kHintKind = 0, kHintTable = 1 };
enum { kTransferMeta = 0, kTransferBytes = 2 };
enum { kMetaCarries = 0 };
enum { kInstructionIndex = 0 };

enum { kHintTransfer = 1, kHintInstruction = 2, kHintInterrupt = 3, kHintFence = 4 };
enum { kStandAlone = 0, kParameterCaching = 1, kExecutionOnly = 2 };

/* mix is the last step of splitmix64 on a sum that keeps a and b apart. */
uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a * 0x9e3779b97f4a7c15u + b + 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* weights is a sum over blocks of 64 bytes, the unit in which parameters are
 * packed. A sum does not care which block is in the cached part and which in
 * the streamed one, so a model has one identity in whatever company it was
 * compiled. */
static uint64_t weights(struct bytes b) {
  uint64_t sum = 0;
  for (size_t at = 0; at < b.size; at += 64) {
    uint64_t word[8] = {0};
    memcpy(word, b.data + at, b.size - at < 64 ? b.size - at : 64);
    uint64_t block = 0;
    for (int i = 0; i < 8; i++) block = mix(block, word[i]);
    sum += block;
  }
  return sum;
}

/* instruction_bytes is the length of a bitstream. */
static int64_t instruction_bytes(struct bytes* b, size_t streams, size_t index) {
  struct table stream = flat_element(b, streams, index);
  return (int64_t)flat_bytes(&stream, kStreamBytes).size;
}

static int64_t layer_bytes(const struct table* t, unsigned field) {
  size_t count, layers = flat_vector(t, field, 4, &count);
  int64_t sum = 0;
  for (size_t i = 0; i < count && !t->in->bad; i++) {
    struct table layer = flat_element(t->in, layers, i);
    sum += (int32_t)flat_scalar(&layer, kLayerBytes, 4, 0);
  }
  return sum;
}

/* hinted adds up what the hints move. False if they leave something open:
 * then every layer, parameter and instruction moves once. */
static bool hinted(const struct table* t, int64_t* sum) {
  struct table hints;
  if (!flat_table(t, kExecutableHints, &hints)) return false;
  bool whole = flat_scalar(&hints, kHintsWhole, 1, 0) != 0;
  size_t chunks, streams = flat_vector(t, kExecutableInstructions, 4, &chunks);
  size_t count, list = flat_vector(&hints, kHintsList, 4, &count);
  *sum = 0;
  for (size_t i = 0; i < count && !t->in->bad; i++) {
    struct table hint = flat_element(t->in, list, i), of, meta;
    uint64_t kind = flat_scalar(&hint, kHintKind, 1, 0);
    if (kind == kHintInterrupt || kind == kHintFence) continue;
    if (!flat_table(&hint, kHintTable, &of)) {
      whole = false;
    } else if (kind == kHintInstruction) {
      uint64_t chunk = flat_scalar(&of, kInstructionIndex, 4, 0);
      if (chunk >= chunks) {
        t->in->bad = true;
        return false;
      }
      *sum += instruction_bytes(t->in, streams, (size_t)chunk);
    } else if (kind == kHintTransfer) {
      int32_t bytes = (int32_t)flat_scalar(&of, kTransferBytes, 4, 0);
      int16_t carries = 0;
      if (flat_table(&of, kTransferMeta, &meta)) carries = (int16_t)flat_scalar(&meta, kMetaCarries, 2, 0);
      if (bytes < 0) {
        t->in->bad = true;
        return false;
      }
      if (carries < 0 || carries > 3) whole = false;
      *sum += bytes;
    } else {
      whole = false;
    }
  }
  return whole;
}

static const char* executable_read(struct bytes data, struct executable* e, uint64_t* identity) {
  struct table t = flat_root(&data);
  struct bytes parameters = flat_bytes(&t, kExecutableParameters);
  memset(e, 0, sizeof *e);
  e->type = (int16_t)flat_scalar(&t, kExecutableType, 2, 0);
  e->token = flat_scalar(&t, kExecutableToken, 8, 0);
  e->parameter_bytes = (int64_t)parameters.size;
  e->batch = (int32_t)flat_scalar(&t, kExecutableBatch, 4, 0);
  e->cycles = (int32_t)flat_scalar(&t, kExecutableCycles, 4, 0);
  int64_t more = (int64_t)flat_scalar(&t, kExecutableCycles64, 8, 0);
  if (more > e->cycles) e->cycles = more;
  if (!hinted(&t, &e->bus_bytes)) {
    size_t count, streams = flat_vector(&t, kExecutableInstructions, 4, &count);
    e->bus_bytes = e->parameter_bytes + layer_bytes(&t, kExecutableInputs) + layer_bytes(&t, kExecutableOutputs);
    for (size_t i = 0; i < count && !data.bad; i++) e->bus_bytes += instruction_bytes(&data, streams, i);
  }
  if (data.bad || e->bus_bytes < 0 || e->cycles < 0 || e->batch < 0) return "an executable is damaged";
  *identity = weights(parameters);
  return NULL;
}

const char* package_read(const void* options, size_t size, struct package* p) {
  struct bytes map = {options, size, false}, data, multi;
  memset(p, 0, sizeof *p);
  if (options == NULL || !flex_lookup(&map, "4", &data)) return "its options hold no package";
  if (data.size < 8 || memcmp(data.data + 4, "DWN1", 4) != 0) return "its options hold no package of an Edge TPU";
  struct table package = flat_root(&data);
  p->min_runtime = (int32_t)flat_scalar(&package, kPackageMinRuntime, 4, 0);
  multi = flat_bytes(&package, kPackageExecutables);
  if (data.bad) return "its package is damaged";
  struct table list = flat_root(&multi);
  size_t count, strings = flat_vector(&list, kMultiExecutables, 4, &count);
  if (multi.bad || count < 1 || count > 3) return "its package is damaged";

  /* The driver goes by the number of executables: one does everything, of two
   * one loads what the other finds, of three the stand-alone one runs. */
  bool found = false;
  int wanted = count == 3 ? kStandAlone : kExecutionOnly;
  for (size_t i = 0; i < count; i++) {
    struct executable e;
    uint64_t identity;
    const char* wrong = executable_read(flat_string(&multi, strings, i), &e, &identity);
    if (multi.bad) wrong = "its package is damaged";
    if (wrong != NULL) return wrong;
    if (count == 1 || (e.type == wanted && !found)) {
      p->main = e;
      p->identity += identity;
      found = true;
    } else if (count == 2 && e.type == kParameterCaching && !p->caches) {
      p->caching = e;
      p->caches = true;
      p->identity += identity;
    }
  }
  if (!found || (count == 2 && !p->caches)) return "its executables do not belong together";
  if (p->caches && p->caching.token == 0) return "it caches parameters without a token";
  return NULL;
}
