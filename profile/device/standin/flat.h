/* Readers of flatbuffers and of FlexBuffers that check every access. The first
 * one that leaves the bytes, or makes no sense, marks them as bad; from then on
 * everything reads as 0, and who reads asks once at the end. */
#ifndef STANDIN_FLAT_H_
#define STANDIN_FLAT_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
  const uint8_t* data;
  size_t size;
  bool bad;
};

struct table {
  struct bytes* in;
  size_t at;      /* of the table */
  size_t vtable;  /* of its list of fields */
  size_t fields;  /* size of that list in bytes */
};

/* A little-endian number of 1, 2, 4 or 8 bytes. */
uint64_t flat_number(struct bytes* b, size_t at, unsigned width);

struct table flat_root(struct bytes* b);
/* The scalar in a field, otherwise if the field is absent. */
uint64_t flat_scalar(const struct table* t, unsigned field, unsigned width, uint64_t otherwise);
/* The table that a field or an element of a vector leads to; false if the field is absent. */
bool flat_table(const struct table* t, unsigned field, struct table* to);
struct table flat_element(struct bytes* b, size_t vector, size_t index);
/* Where the elements of a vector begin and how many there are, none if the field is absent. */
size_t flat_vector(const struct table* t, unsigned field, unsigned width, size_t* count);
/* A vector of bytes, or a string. */
struct bytes flat_bytes(const struct table* t, unsigned field);
struct bytes flat_string(struct bytes* b, size_t vector, size_t index);

/* The string or blob under a key of the map that a FlexBuffer is. */
bool flex_lookup(struct bytes* b, const char* key, struct bytes* value);

#endif
