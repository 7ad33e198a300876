# Warnings, hardening and the sanitizer presets (TW_SANITIZE=address or thread).
set(TW_SANITIZE "" CACHE STRING "address (with undefined), thread, fuzz (clang: address, undefined and libFuzzer's counters), or empty")

# The flags below say everything; CMake adds none of its own for a build type.
set(CMAKE_C_FLAGS_RELEASE "")
set(CMAKE_C_FLAGS_DEBUG "")

add_library(tw_flags INTERFACE)
target_compile_options(tw_flags INTERFACE
    -Wall -Wextra -Werror -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes -Wundef
    -Wvla -Wformat=2 -Wcast-qual -Wwrite-strings -fno-strict-aliasing -fno-omit-frame-pointer)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(tw_flags INTERFACE -Wimplicit-fallthrough=5)
else()
    target_compile_options(tw_flags INTERFACE -Wimplicit-fallthrough -Wno-gnu-alignof-expression)
endif()
target_compile_definitions(tw_flags INTERFACE _GNU_SOURCE)

# gcc sees paths that are not there once a sanitizer has rewritten the code; the release build keeps the warning.
if(TW_SANITIZE AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(tw_flags INTERFACE -Wno-maybe-uninitialized)
endif()
if(TW_SANITIZE STREQUAL "address")
    target_compile_options(tw_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -g -O1)
    target_link_options(tw_flags INTERFACE -fsanitize=address,undefined)
elseif(TW_SANITIZE STREQUAL "fuzz")
    target_compile_options(tw_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -g -O1)
    target_link_options(tw_flags INTERFACE -fsanitize=address,undefined)
elseif(TW_SANITIZE STREQUAL "thread")
    target_compile_options(tw_flags INTERFACE -fsanitize=thread -g -O1)
    target_link_options(tw_flags INTERFACE -fsanitize=thread)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(tw_flags INTERFACE -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong
        -fstack-clash-protection -ftrivial-auto-var-init=zero)
    target_link_options(tw_flags INTERFACE -pie -Wl,-z,relro,-z,now)
else()
    target_compile_options(tw_flags INTERFACE -g -Og)
endif()

# Two hundred programs are linked, the tests for the most part: lld takes a tenth of the time of the usual linker.
find_program(TW_LLD NAMES ld.lld-22 ld.lld-19)
if(TW_LLD)
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/linker)
    file(CREATE_LINK ${TW_LLD} ${CMAKE_BINARY_DIR}/linker/ld.lld SYMBOLIC)
    add_link_options(-B${CMAKE_BINARY_DIR}/linker -fuse-ld=lld)
endif()
