/* Descriptions of C types, which travel as text: any text is a type, or an error. */
#include "kit.h"
#include "native/call.h"

#define TEXT_MAX 4096

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TEXT_MAX];
    size_t offsets[16], count = 0;
    struct fmp_native_call call = {.count = 1};
    if (size >= sizeof text) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    if (fmp_native_type_parse(text, &call.types[0]) != 0) {
        return 0;
    }
    (void)fmp_native_type_offsets(call.types[0], offsets, 16, &count);
    FUZZ_CHECK(fmp_native_type_parse("v", &call.result) == 0);
    (void)fmp_native_call_prepare(&call);
    fmp_native_call_release(&call);
    return 0;
}
