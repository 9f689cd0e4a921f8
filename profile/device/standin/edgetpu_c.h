/* The C interface of libedgetpu, as far as anything here uses it: declarations
 * for whoever calls the library (a real one or the stand-in), and for the
 * stand-in itself. */
#ifndef EDGETPU_C_H_
#define EDGETPU_C_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum edgetpu_device_type {
  EDGETPU_APEX_PCI = 0,
  EDGETPU_APEX_USB = 1,
};

struct edgetpu_device {
  enum edgetpu_device_type type;
  const char* path;
};

struct edgetpu_option {
  const char* name;
  const char* value;
};

typedef struct TfLiteDelegate TfLiteDelegate;

/* Devices that are there; NULL if there are none. */
struct edgetpu_device* edgetpu_list_devices(size_t* num_devices);
void edgetpu_free_devices(struct edgetpu_device* devices);

/* Opens a device, the first of its type if name is NULL; NULL if that fails,
 * without a reason. */
TfLiteDelegate* edgetpu_create_delegate(enum edgetpu_device_type type, const char* name,
                                        const struct edgetpu_option* options, size_t num_options);
void edgetpu_free_delegate(TfLiteDelegate* delegate);

void edgetpu_verbosity(int verbosity);
const char* edgetpu_version(void);

#ifdef __cplusplus
}
#endif

#endif
