/* A PJRT plugin for the tests: a real plugin under another platform's name, and with faults on request.
 *
 * GetPjrtApi() copies the real plugin's table of functions and replaces some. The environment says which:
 *   SHIM_PLUGIN     the real plugin's library
 *   SHIM_PLATFORM   the platform's name; default: ascend
 *   SHIM_FAULT      abort | hang | no_device | silent | abi_major | abi_minor | ignore_nodes
 *   SHIM_REFUSE     compiling a program that contains this text is an error
 *   SHIM_CRASH      compiling one that contains this text aborts
 *   SHIM_STALL      compiling one that contains this text never ends
 *   SHIM_WRONG      OLD=NEW, of one length: programs compute NEW where they say OLD, e.g. maximum_v1=minimum_v1
 *
 * The layout is that of pjrt_c_api.h: it only ever grows at its end, so the places below hold for every 0.x version.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { size_t size; void* extensions; size_t version_size; void* version_extensions; int major, minor; void* functions[]; } Api;
enum {
  ERROR_MESSAGE = 1, PLUGIN_INITIALIZE = 3, CLIENT_CREATE = 10,
  CLIENT_PLATFORM_NAME = 12, CLIENT_COMPILE = 20, DEVICE_KIND = 26, TOPOLOGY_PLATFORM_NAME = 84
};
typedef struct { size_t size; void* extensions; void* object; const char* text; size_t length; } TextArguments;
typedef struct { size_t size; void* extensions; char* code; size_t length; const char* format; size_t format_length; } Program;
typedef struct { size_t size; void* extensions; void* client; Program* program; } CompileArguments;
typedef struct { size_t size; void* extensions; const char* name; size_t name_length; int kind; const void* value; size_t value_size; } Option;
typedef struct { size_t size; void* extensions; Option* options; size_t count; } CreateArguments;

static union { Api api; char bytes[1 << 14]; } table;
static void* (*real_compile)(CompileArguments*);
static void* (*real_create)(CreateArguments*);
static void (*real_message)(TextArguments*);
static void* marked; /* the last error that says our text instead of its own */
static const char* marked_text;

static const char* setting(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

static void* fail(const char* text) { /* a real error object, by a call that is too short to be accepted */
  CreateArguments empty = {0};
  marked_text = text;
  return marked = real_create(&empty);
}
static void error_message(TextArguments* a) {
  real_message(a);
  if (a->object != marked) return;
  a->text = marked_text;
  a->length = strlen(marked_text);
}

static void* platform_name(TextArguments* a) {
  a->text = *setting("SHIM_PLATFORM") ? setting("SHIM_PLATFORM") : "ascend";
  a->length = strlen(a->text);
  return NULL;
}
static void* device_kind(TextArguments* a) {
  a->text = "Shim 910B";
  a->length = strlen(a->text);
  return NULL;
}

static void start_abort(void* a) { fprintf(stderr, "aclInit failed\n"); abort(); }
static void start_hang(void* a) { for (;;) pause(); }
static void* no_device(void* a) { return fail("aclrtGetDeviceCount failed, ret=507033: no NPU device found"); }
static void* create_alone(CreateArguments* a) { /* drops what JAX tells a plugin about the other processes */
  size_t kept = 0;
  for (size_t i = 0; i < a->count; i++) {
    Option* option = &a->options[i];
    if (!memmem(option->name, option->name_length, "node", 4)) a->options[kept++] = *option;
  }
  a->count = kept;
  return real_create(a);
}

static int contains(const Program* program, const char* variable) {
  const char* text = setting(variable);
  return *text && memmem(program->code, program->length, text, strlen(text));
}
static void* compile(CompileArguments* a) {
  Program* program = a->program;
  if (contains(program, "SHIM_CRASH")) { fprintf(stderr, "kernel fault\n"); abort(); }
  while (contains(program, "SHIM_STALL")) pause();
  if (contains(program, "SHIM_REFUSE")) return fail("this operation has no kernel");
  const char* old = setting("SHIM_WRONG");
  const char* equals = strchr(old, '=');
  if (!equals) return real_compile(a);
  size_t length = equals - old;
  Program changed = *program;
  changed.code = malloc(program->length);
  memcpy(changed.code, program->code, program->length);
  for (char* at = changed.code; (at = memmem(at, changed.code + changed.length - at, old, length)); at += length)
    memcpy(at, equals + 1, length);
  a->program = &changed;
  void* error = real_compile(a);
  a->program = program;
  free(changed.code);
  return error;
}

const void* GetPjrtApi(void) {
  const char* fault = setting("SHIM_FAULT");
  void* library = dlopen(setting("SHIM_PLUGIN"), RTLD_NOW | RTLD_LOCAL);
  if (!library) { fprintf(stderr, "shim: %s\n", dlerror()); return NULL; }
  if (!strcmp(fault, "silent")) return NULL;
  const Api* (*get)(void) = (const Api* (*)(void))dlsym(library, "GetPjrtApi");
  const Api* real = get();
  memcpy(&table, real, real->size);
  void** functions = table.api.functions;
  real_compile = functions[CLIENT_COMPILE];
  real_create = functions[CLIENT_CREATE];
  real_message = functions[ERROR_MESSAGE];
  functions[ERROR_MESSAGE] = error_message;
  functions[CLIENT_COMPILE] = compile;
  functions[CLIENT_PLATFORM_NAME] = functions[TOPOLOGY_PLATFORM_NAME] = platform_name;
  functions[DEVICE_KIND] = device_kind;
  if (!strcmp(fault, "abort")) functions[PLUGIN_INITIALIZE] = start_abort;
  if (!strcmp(fault, "hang")) functions[PLUGIN_INITIALIZE] = start_hang;
  if (!strcmp(fault, "no_device")) functions[CLIENT_CREATE] = no_device;
  if (!strcmp(fault, "ignore_nodes")) functions[CLIENT_CREATE] = create_alone;
  if (!strcmp(fault, "abi_major")) table.api.major = 1;
  if (!strcmp(fault, "abi_minor")) table.api.minor = 20;
  return &table;
}
