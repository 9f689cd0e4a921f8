#include "flat.h"

#include <string.h>

/* within says whether count things of a width begin at a place. */
static bool within(struct bytes* b, size_t at, size_t count, unsigned width) {
  if (!b->bad && (at > b->size || count > (b->size - at) / width)) b->bad = true;
  return !b->bad;
}

uint64_t flat_number(struct bytes* b, size_t at, unsigned width) {
  if (!within(b, at, 1, width)) return 0;
  uint64_t n = 0;
  for (unsigned i = width; i-- > 0;) n = n << 8 | b->data[at + i];
  return n;
}

static struct table table_at(struct bytes* b, size_t at) {
  struct table t = {b, at, 0, 0};
  int64_t back = (int32_t)flat_number(b, at, 4);
  if (b->bad) return t;
  int64_t vtable = (int64_t)at - back;
  if (vtable < 0 || (uint64_t)vtable > b->size) {
    b->bad = true;
    return t;
  }
  t.vtable = (size_t)vtable;
  t.fields = flat_number(b, t.vtable, 2);
  if (t.fields < 4 || !within(b, t.vtable, t.fields, 1)) b->bad = true;
  return t;
}

/* follow goes where the offset at a place leads. */
static size_t follow(struct bytes* b, size_t at) {
  uint64_t offset = flat_number(b, at, 4);
  if (offset == 0 || offset > b->size || at > b->size - offset) b->bad = true;
  return b->bad ? 0 : at + (size_t)offset;
}

/* field is where a field of a table stands, 0 if it is absent: no field stands there. */
static size_t field(const struct table* t, unsigned number) {
  size_t entry = 4 + 2 * (size_t)number;
  if (t->in->bad || entry + 2 > t->fields) return 0;
  size_t offset = flat_number(t->in, t->vtable + entry, 2);
  return offset == 0 ? 0 : t->at + offset;
}

struct table flat_root(struct bytes* b) { return table_at(b, follow(b, 0)); }

uint64_t flat_scalar(const struct table* t, unsigned number, unsigned width, uint64_t otherwise) {
  size_t at = field(t, number);
  return at == 0 ? otherwise : flat_number(t->in, at, width);
}

bool flat_table(const struct table* t, unsigned number, struct table* to) {
  size_t at = field(t, number);
  if (at == 0) return false;
  *to = table_at(t->in, follow(t->in, at));
  return !t->in->bad;
}

struct table flat_element(struct bytes* b, size_t vector, size_t index) {
  return table_at(b, follow(b, vector + 4 * index));
}

size_t flat_vector(const struct table* t, unsigned number, unsigned width, size_t* count) {
  *count = 0;
  size_t at = field(t, number);
  if (at == 0) return 0;
  at = follow(t->in, at);
  size_t n = (size_t)flat_number(t->in, at, 4);
  if (!within(t->in, at + 4, n, width)) return 0;
  *count = n;
  return at + 4;
}

struct bytes flat_bytes(const struct table* t, unsigned number) {
  struct bytes v = {NULL, 0, false};
  size_t n, at = flat_vector(t, number, 1, &n);
  if (n > 0) v.data = t->in->data + at;
  v.size = n;
  return v;
}

struct bytes flat_string(struct bytes* b, size_t vector, size_t index) {
  struct bytes v = {NULL, 0, false};
  size_t at = follow(b, vector + 4 * index);
  size_t n = (size_t)flat_number(b, at, 4);
  if (!within(b, at + 4, n, 1)) return v;
  v.data = b->data + at + 4;
  v.size = n;
  return v;
}

enum { kFlexString = 5, kFlexMap = 9, kFlexBlob = 25 };

/* back goes where the offset at a place leads; FlexBuffers count backwards. */
static size_t back(struct bytes* b, size_t at, unsigned width) {
  uint64_t offset = flat_number(b, at, width);
  if (offset > at) b->bad = true;
  return b->bad ? 0 : at - (size_t)offset;
}

bool flex_lookup(struct bytes* b, const char* key, struct bytes* value) {
  if (b->size < 3) return false;
  unsigned width = b->data[b->size - 1], type = b->data[b->size - 2];
  if ((width != 1 && width != 2 && width != 4 && width != 8) || type >> 2 != kFlexMap || b->size < 2 + width) return false;
  size_t map = back(b, b->size - 2 - width, width);
  width = 1u << (type & 3);
  /* Before the values: where the keys are, how wide they are, how many values. */
  if (b->bad || map < 3 * (size_t)width) return false;
  size_t keys = back(b, map - 3 * width, width);
  uint64_t key_width = flat_number(b, map - 2 * width, width);
  size_t count = (size_t)flat_number(b, map - width, width);
  if (b->bad || !within(b, map, count, width + 1)) return false;
  if (key_width != 1 && key_width != 2 && key_width != 4 && key_width != 8) return false;
  if (!within(b, keys, count, (unsigned)key_width)) return false;
  for (size_t i = 0; i < count; i++) {
    size_t name = back(b, keys + i * (size_t)key_width, (unsigned)key_width), length = strlen(key) + 1;
    if (!within(b, name, 1, 1)) return false;
    if (length > b->size - name || memcmp(b->data + name, key, length) != 0) continue;
    type = b->data[map + count * width + i];
    if (type >> 2 != kFlexString && type >> 2 != kFlexBlob) return false;
    size_t at = back(b, map + i * width, width);
    width = 1u << (type & 3);
    if (b->bad || at < width) return false;
    size_t size = (size_t)flat_number(b, at - width, width);
    if (!within(b, at, size, 1)) return false;
    value->data = b->data + at;
    value->size = size;
    value->bad = false;
    return true;
  }
  return false;
}
