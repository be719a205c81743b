// The one function of bcryptprimitives.dll that Rust's standard library calls, for versions of wine that lack the library.

#include <windows.h>

BOOLEAN NTAPI SystemFunction036(void *bytes, ULONG count);

__declspec(dllexport) BOOL WINAPI ProcessPrng(unsigned char *bytes, SIZE_T count) {
    return SystemFunction036(bytes, (ULONG)count);
}
