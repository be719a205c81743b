// Microsoft's two compilers of HLSL behind lines of text: DXC on Linux (libdxcompiler.so) and on Windows (dxcompiler.dll), FXC on
// Windows (d3dcompiler_47.dll), with the flags that wgpu-hal gives them (dx12/shader_compilation.rs).
//
//   dx dxc|fxc LIBRARY
//
// A line on standard input is: file, entry point, profile, separated by tabs. The answer to each is one line:
// `ok SECONDS` or `refused SECONDS MESSAGE`, in CPU seconds of this process.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
// Where a class' own functions begin in its table: behind QueryInterface, AddRef and Release.
#define OWN 3
static void *load(const char *library, const char *name) {
    HMODULE module = LoadLibraryA(library);
    return module ? (void *)GetProcAddress(module, name) : NULL;
}
static double seconds(void) {
    FILETIME made, ended, kernel, user;
    GetProcessTimes(GetCurrentProcess(), &made, &ended, &kernel, &user);
    return 1e-7 * (((uint64_t)user.dwHighDateTime << 32 | user.dwLowDateTime) +
                   ((uint64_t)kernel.dwHighDateTime << 32 | kernel.dwLowDateTime));
}
#else
#include <dlfcn.h>
#include <time.h>
// There the compiler's IUnknown has a virtual destructor besides, which takes two places.
#define OWN 5
#define WINAPI
static void *load(const char *library, const char *name) {
    void *module = dlopen(library, RTLD_NOW);
    return module ? dlsym(module, name) : NULL;
}
static double seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }
#endif

typedef struct { uint32_t a; uint16_t b, c; uint8_t d[8]; } Guid;
typedef struct { void **functions; } Object;
typedef struct { const void *text; size_t size; uint32_t encoding; } Buffer;

static const Guid COMPILER = {0x73e22d93, 0xe6ce, 0x47f3, {0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0}};
static const Guid COMPILER_3 = {0x228b4687, 0x5a6a, 0x4730, {0x90, 0x0c, 0x97, 0x02, 0xb2, 0x20, 0x3f, 0x54}};
static const Guid RESULT = {0x58346cda, 0xdde7, 0x4497, {0x94, 0x61, 0x6f, 0x87, 0xaf, 0x5e, 0x06, 0x59}};

typedef uint32_t(WINAPI *Release)(Object *);
typedef void *(WINAPI *Pointer)(Object *);
typedef size_t(WINAPI *Size)(Object *);

static void release(Object *object) {
    if (object) ((Release)object->functions[2])(object);
}

// One line, whatever the message holds.
static void answer(const char *word, double spent, const char *message, size_t length) {
    printf("%s %.4f ", word, spent);
    for (size_t k = 0; k < length && k < 2000 && message[k]; k++)
        putchar(message[k] == '\n' || message[k] == '\r' ? ' ' : message[k]);
    putchar('\n');
    fflush(stdout);
}

static void refuse(double spent, Object *message) {
    if (!message) {
        answer("refused", spent, "no message", 10);
        return;
    }
    answer("refused", spent, ((Pointer)message->functions[OWN])(message), ((Size)message->functions[OWN + 1])(message));
}

typedef int32_t(WINAPI *Create)(const Guid *of, const Guid *as, void **object);
typedef int32_t(WINAPI *CompileDxc)(Object *, const Buffer *, const wchar_t **, uint32_t, void *, const Guid *, void **);
typedef int32_t(WINAPI *Status)(Object *, int32_t *);
typedef int32_t(WINAPI *Blob)(Object *, Object **);

static Object *dxc;

static void compile_dxc(const Buffer *source, const char *entry, const char *profile) {
    wchar_t wide_entry[200], wide_profile[20];
    mbstowcs(wide_entry, entry, 200);
    mbstowcs(wide_profile, profile, 20);
    const wchar_t *arguments[] = {L"-E", wide_entry, L"-T", wide_profile, L"-HV", L"2018", L"-no-warnings", L"-Ges"};
    Object *result = NULL, *message = NULL, *code = NULL;
    int32_t status = -1;
    double start = seconds();
    int32_t called = ((CompileDxc)dxc->functions[OWN])(dxc, source, arguments, 8, NULL, &RESULT, (void **)&result);
    double spent = seconds() - start;
    if (called >= 0) {
        ((Status)result->functions[OWN])(result, &status);
        ((Blob)result->functions[OWN + 1])(result, &code);
        ((Blob)result->functions[OWN + 2])(result, &message);
    }
    if (status >= 0 && code && ((Size)code->functions[OWN + 1])(code) > 0)
        answer("ok", spent, "", 0);
    else
        refuse(spent, message);
    release(code);
    release(message);
    release(result);
}

typedef int32_t(WINAPI *CompileFxc)(const void *, size_t, const char *, const void *, void *, const char *, const char *, uint32_t,
                                    uint32_t, Object **, Object **);
static CompileFxc fxc;
static const uint32_t ENABLE_STRICTNESS = 1 << 11;

static void compile_fxc(const Buffer *source, const char *entry, const char *profile) {
    Object *code = NULL, *message = NULL;
    double start = seconds();
    int32_t status =
        fxc(source->text, source->size, NULL, NULL, NULL, entry, profile, ENABLE_STRICTNESS, 0, &code, &message);
    double spent = seconds() - start;
    if (status >= 0 && code)
        answer("ok", spent, "", 0);
    else
        refuse(spent, message);
    release(code);
    release(message);
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    int is_dxc = !strcmp(arguments[1], "dxc");
    if (is_dxc) {
        Create create = (Create)load(arguments[2], "DxcCreateInstance");
        if (create) create(&COMPILER, &COMPILER_3, (void **)&dxc);
    } else {
        fxc = (CompileFxc)load(arguments[2], "D3DCompile");
    }
    if (!dxc && !fxc) {
        fprintf(stderr, "%s cannot be loaded\n", arguments[2]);
        return 1;
    }
    printf("ready {}\n");
    fflush(stdout);
    static char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        char *path = strtok(line, "\t"), *entry = strtok(NULL, "\t"), *profile = strtok(NULL, "\t\r\n");
        FILE *file = path && profile ? fopen(path, "rb") : NULL;
        if (!file) {
            answer("refused", 0, "the file cannot be read", 23);
            continue;
        }
        fseek(file, 0, SEEK_END);
        size_t size = (size_t)ftell(file);
        rewind(file);
        char *text = malloc(size);
        size = fread(text, 1, size, file);
        fclose(file);
        Buffer source = {text, size, 65001};
        (is_dxc ? compile_dxc : compile_fxc)(&source, entry, profile);
        free(text);
    }
    return 0;
}
