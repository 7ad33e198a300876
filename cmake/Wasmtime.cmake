# Wasmtime's C API as a static library, from crates.io through cargo with every hash in Cargo.lock, built once into a cache
# folder that outlives this build tree. WASMTIME_ROOT (variable or environment) points at an installed one instead.
set(WASMTIME_ROOT "$ENV{WASMTIME_ROOT}" CACHE PATH "an installed Wasmtime C API (include/, lib/libwasmtime.a)")
set(TW_CACHE "$ENV{TW_CACHE}" CACHE PATH "where costly build results are kept")
if(NOT TW_CACHE)
    set(TW_CACHE "$ENV{HOME}/.cache/tensor-wasm")
endif()

add_library(tw_wasmtime INTERFACE)
if(WASMTIME_ROOT)
    target_include_directories(tw_wasmtime SYSTEM INTERFACE ${WASMTIME_ROOT}/include)
    target_link_libraries(tw_wasmtime INTERFACE ${WASMTIME_ROOT}/lib/libwasmtime.a)
else()
    set(manifest ${CMAKE_SOURCE_DIR}/third_party/wasmtime)
    # The lock and the manifest name the result, so that a change of either builds anew beside the old one.
    file(SHA256 ${manifest}/Cargo.lock lock_hash)
    file(SHA256 ${manifest}/Cargo.toml manifest_hash)
    string(SHA256 key "${lock_hash}${manifest_hash}")
    string(SUBSTRING ${key} 0 16 key)
    set(wasmtime_dir ${TW_CACHE}/wasmtime-${key})
    if(NOT EXISTS ${wasmtime_dir}/lib/libwasmtime.a OR NOT EXISTS ${wasmtime_dir}/include/wasmtime/conf.h)
        message(STATUS "Building Wasmtime (once, about 4 minutes on 2 cores)")
        execute_process(
            COMMAND ${CMAKE_SOURCE_DIR}/script/build-wasmtime ${manifest} ${wasmtime_dir}
            RESULT_VARIABLE result)
        if(result)
            message(FATAL_ERROR "Wasmtime did not build; the messages above say why")
        endif()
    endif()
    target_include_directories(tw_wasmtime SYSTEM INTERFACE ${wasmtime_dir}/include)
    target_link_libraries(tw_wasmtime INTERFACE ${wasmtime_dir}/lib/libwasmtime.a)
endif()
target_link_libraries(tw_wasmtime INTERFACE Threads::Threads m ${CMAKE_DL_LIBS})
