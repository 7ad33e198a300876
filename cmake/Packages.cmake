# What comes from the system's packages (script/bootstrap installs them).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson>=2.13)
pkg_check_modules(crypto REQUIRED IMPORTED_TARGET libcrypto>=3.0)
pkg_check_modules(nghttp2 REQUIRED IMPORTED_TARGET libnghttp2>=1.52)
pkg_check_modules(zlib REQUIRED IMPORTED_TARGET zlib>=1.2.13)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd>=1.5)
pkg_check_modules(curl REQUIRED IMPORTED_TARGET libcurl>=7.88)
pkg_check_modules(seccomp REQUIRED IMPORTED_TARGET libseccomp>=2.5)
pkg_check_modules(check REQUIRED IMPORTED_TARGET check>=0.15)

# LLVM's C API, 22 or else 19, for the compiler process only.
find_program(TW_LLVM_CONFIG NAMES llvm-config-22 llvm-config-19 REQUIRED)
execute_process(COMMAND ${TW_LLVM_CONFIG} --includedir OUTPUT_VARIABLE TW_LLVM_INCLUDE OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND ${TW_LLVM_CONFIG} --ldflags OUTPUT_VARIABLE TW_LLVM_LDFLAGS OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND ${TW_LLVM_CONFIG} --libs OUTPUT_VARIABLE TW_LLVM_LIBS OUTPUT_STRIP_TRAILING_WHITESPACE)
separate_arguments(TW_LLVM_LDFLAGS)
add_library(tw_llvm INTERFACE)
target_include_directories(tw_llvm SYSTEM INTERFACE ${TW_LLVM_INCLUDE})
target_link_libraries(tw_llvm INTERFACE ${TW_LLVM_LDFLAGS} ${TW_LLVM_LIBS})

# clang makes PTX from CUDA sources and Wasm from C guests, for the tests and examples.
find_program(TW_CLANG NAMES clang-22 clang-19 REQUIRED)
