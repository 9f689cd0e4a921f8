/* The package of an Edge TPU operator, as far as a device has to know it. */
#ifndef STANDIN_PACKAGE_H_
#define STANDIN_PACKAGE_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct executable {
  int type;
  uint64_t token;
  int64_t parameter_bytes;
  int64_t bus_bytes; /* of one run, both directions, by the file's hints */
  int64_t cycles;    /* the compiler's estimate, 0 if it made none */
  int64_t batch;
};

struct package {
  int min_runtime;
  struct executable main;    /* does the inference */
  bool caches;
  struct executable caching; /* loads parameters, if there is one */
  uint64_t identity;         /* of the weights, however they are split */
};

/* Reads the options of an operator. NULL if all is well, else what is wrong. */
const char* package_read(const void* options, size_t size, struct package* p);

/* A number that depends on every bit of two others. */
uint64_t mix(uint64_t a, uint64_t b);

#endif
