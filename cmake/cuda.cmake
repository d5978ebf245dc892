# NVIDIA's CUDA, where it is: nvcc, and the headers of cuDNN and cuBLAS. ONECYCLE_WITH_CUDA says
# whether the CUDA back end is built; where it is not, stubs take its place, and
# ONECYCLE_CUDA_MISSING says why in a few words.
set(ONECYCLE_CUDA AUTO CACHE STRING
    "Build for NVIDIA GPUs: AUTO (where a driver and the toolkit are), TOOLKIT (driver or not), ON (stop without), OFF")
set(ONECYCLE_CUDA_ARCHITECTURES "" CACHE STRING
    "GPUs to build for, as in CMAKE_CUDA_ARCHITECTURES; empty: those of this machine, or PTX and Hopper where none is")

set(onecycle_cuda_on "cmake --preset release -DONECYCLE_CUDA=ON && scripts/build")

# Whether this machine has NVIDIA's driver: its kernel module is loaded, or its library is installed,
# as in a container that is built without a GPU to run with one, or under WSL.
function(onecycle_find_driver to)
    set(${to} FALSE PARENT_SCOPE)
    find_library(library NAMES libcuda.so.1 HINTS /usr/lib/wsl/lib NO_CACHE)
    if(library OR EXISTS /proc/driver/nvidia/version)
        set(${to} TRUE PARENT_SCOPE)
    endif()
endfunction()

# Sets ONECYCLE_CUDA_MISSING; empty: CUDA can be built; ONECYCLE_CUDA_FIX: how to get it then.
# ONECYCLE_CUDA_TOOLKIT: a toolkit is there.
macro(onecycle_look_for_cuda)
    set(ONECYCLE_CUDA_MISSING "")
    set(ONECYCLE_CUDA_FIX "build where nvcc 12.1 or newer and the headers of cuDNN 9 are")
    set(ONECYCLE_CUDA_TOOLKIT FALSE)
    if(ONECYCLE_SANITIZE OR ONECYCLE_SHADOW_MEMORY)
        set(ONECYCLE_CUDA_MISSING "sanitizers and shadow memory are for the emulated device")
    elseif(ONECYCLE_CUDA STREQUAL "OFF")
        set(ONECYCLE_CUDA_MISSING "it was built with ONECYCLE_CUDA=OFF")
        set(ONECYCLE_CUDA_FIX "${onecycle_cuda_on}")
    else()
        find_package(CUDAToolkit QUIET)
        if(NOT CUDAToolkit_FOUND OR NOT EXISTS "${CUDAToolkit_NVCC_EXECUTABLE}")
            set(ONECYCLE_CUDA_MISSING "no CUDA toolkit (nvcc) was found")
        else()
            set(ONECYCLE_CUDA_TOOLKIT TRUE)
            find_path(CUDNN_INCLUDE_DIR cudnn_backend.h HINTS ${CUDAToolkit_INCLUDE_DIRS})  # cudnn9-dev
            find_path(CUBLAS_INCLUDE_DIR cublas_v2.h HINTS ${CUDAToolkit_INCLUDE_DIRS})     # libcublas-dev
            onecycle_find_driver(driver)
            if(CUDAToolkit_VERSION VERSION_LESS 12.1)  # kernels with more than 4 KB of arguments
                set(ONECYCLE_CUDA_MISSING "nvcc ${CUDAToolkit_VERSION} is too old, 12.1 is needed")
            elseif(NOT CUDNN_INCLUDE_DIR)
                set(ONECYCLE_CUDA_MISSING "the headers of cuDNN 9 (cudnn_backend.h) were not found")
            elseif(NOT CUBLAS_INCLUDE_DIR)
                set(ONECYCLE_CUDA_MISSING "the headers of cuBLAS (cublas_v2.h) were not found")
            elseif(ONECYCLE_CUDA STREQUAL "AUTO" AND NOT driver)  # nvcc's part takes minutes
                set(ONECYCLE_CUDA_MISSING "nvcc ${CUDAToolkit_VERSION} is here, an NVIDIA driver is not")
                set(ONECYCLE_CUDA_FIX "${onecycle_cuda_on}")
            else()
                if(NOT DEFINED ENV{CUDACXX})
                    set(ENV{CUDACXX} "${CUDAToolkit_NVCC_EXECUTABLE}")  # it need not be on the path
                endif()
                include(CheckLanguage)
                check_language(CUDA)
                if(NOT CMAKE_CUDA_COMPILER)
                    set(ONECYCLE_CUDA_MISSING
                        "nvcc ${CUDAToolkit_VERSION} does not compile with ${CMAKE_CXX_COMPILER}")
                endif()
            endif()
        endif()
    endif()
endmacro()

# The architectures of this machine's GPUs that nvcc knows; none: PTX that every GPU from Ampere on
# compiles for itself once, and Hopper's own code.
function(onecycle_default_architectures to)
    set(found "")
    execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
        OUTPUT_VARIABLE capabilities ERROR_QUIET RESULT_VARIABLE failed)
    if(failed EQUAL 0)
        execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-code OUTPUT_VARIABLE known ERROR_QUIET)
        string(REGEX MATCHALL "[0-9]+\\.[0-9]" capabilities "${capabilities}")
        foreach(capability ${capabilities})
            string(REPLACE "." "" architecture ${capability})
            if(known MATCHES "sm_${architecture}\n")
                list(APPEND found ${architecture})
            endif()
        endforeach()
        list(REMOVE_DUPLICATES found)
    endif()
    if(NOT found)
        set(found 80-virtual 90-real)
    endif()
    set(${to} ${found} PARENT_SCOPE)
endfunction()

onecycle_look_for_cuda()
if(ONECYCLE_CUDA_MISSING)
    set(ONECYCLE_WITH_CUDA FALSE)
    if(ONECYCLE_CUDA STREQUAL "ON")
        message(FATAL_ERROR "No CUDA back end: ${ONECYCLE_CUDA_MISSING}")
    elseif(ONECYCLE_CUDA_TOOLKIT)
        # One line, whatever the log level; a warning takes four.
        execute_process(COMMAND ${CMAKE_COMMAND} -E echo
            "No CUDA back end: ${ONECYCLE_CUDA_MISSING}; to have it: ${ONECYCLE_CUDA_FIX}")
    else()
        message(STATUS "No CUDA back end: ${ONECYCLE_CUDA_MISSING}")
    endif()
else()
    set(ONECYCLE_WITH_CUDA TRUE)
    set(CMAKE_CUDA_ARCHITECTURES ${ONECYCLE_CUDA_ARCHITECTURES})
    if(NOT CMAKE_CUDA_ARCHITECTURES)
        onecycle_default_architectures(CMAKE_CUDA_ARCHITECTURES)
    endif()
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake before 3.25.2 does not know that nvcc can
        set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
        set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
    endif()
    set(CMAKE_CUDA_STANDARD 20)
    set(CMAKE_CUDA_EXTENSIONS OFF)
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
    message(STATUS "CUDA back end: nvcc ${CMAKE_CUDA_COMPILER_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}")
endif()
