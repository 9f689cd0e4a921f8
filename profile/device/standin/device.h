/* Devices: what is loaded on them, how long a call takes, what goes wrong. */
#ifndef STANDIN_DEVICE_H_
#define STANDIN_DEVICE_H_

#include <stdbool.h>
#include <stdint.h>

#include "package.h"
#include "settings.h"

struct device;

/* A package on a device. */
struct program {
  struct package package;
  struct device* device;
  int slot;
};

/* The settings in force. They are read anew whenever no device is open. */
const struct settings* devices_settings(void);

/* Whether a device is listed, how it is called, and its number by that name, -1 if none is called so. */
bool device_listed(int number);
const char* device_path(int number);
int device_number(const char* path);

/* Opens a device, which may be open already; NULL if that fails. */
struct device* device_open(int number);
void device_close(struct device* d);

/* Whether the runtime is new enough for a package. */
bool device_accepts(const struct package* p);
struct program* device_register(struct device* d, const struct package* p);
void device_unregister(struct program* p);

/* What became of a call. */
struct outcome {
  bool failed, corrupt;
};

/* One call of a program: it does what the driver does to the state, and ends
 * when the model of time says so. requests is how many runs of the executable
 * the batch takes. outputs is called once the call is sure to succeed. */
struct outcome device_call(struct program* p, int64_t requests, void (*outputs)(void* of, bool corrupt), void* of);

#endif
