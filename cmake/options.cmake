# How everything is compiled.
option(ONECYCLE_BUILD_TESTS "Build the tests (needs GoogleTest)" ${PROJECT_IS_TOP_LEVEL})
option(ONECYCLE_BUILD_BENCH "Build the benchmarks (needs Google Benchmark)" OFF)
option(ONECYCLE_WARNINGS_AS_ERRORS "Stop at the first warning" OFF)
option(ONECYCLE_UNITY "Compile a layer's sources several at a time: half the time from nothing" ON)
set(ONECYCLE_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=: address,undefined or thread")

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, Debug or RelWithDebInfo" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_OPTIMIZE_DEPENDENCIES ON)  # a layer can be compiled before those that it uses

find_program(CCACHE ccache)
if(CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()

# Options are aggregates for designated initialisers: naming some members and not others is the
# point.
set(warnings -Wall -Wextra -Wshadow -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    list(APPEND warnings -Wno-restrict)  # GCC 12 sees overlaps in "a" + std::string (bug 105651)
endif()
if(ONECYCLE_WARNINGS_AS_ERRORS)
    list(APPEND warnings -Werror)
endif()
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:${warnings}>")
if(ONECYCLE_SANITIZE)
    add_compile_options(-fsanitize=${ONECYCLE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${ONECYCLE_SANITIZE})
    add_compile_options(-g1)  # the lines that a report names; variables would take longer
    if(ONECYCLE_SANITIZE MATCHES address)
        add_compile_options(-O1)  # the checks of both sanitizers in templates would compile for minutes
    endif()
endif()

# The guards that distributions build with: a fault in a parser ends the program before it can be
# used. The sanitizers bring stricter ones, and without optimisation FORTIFY does nothing.
option(ONECYCLE_HARDENING "Stack protector, FORTIFY, control-flow protection, RELRO, BIND_NOW" ON)
if(ONECYCLE_HARDENING AND NOT ONECYCLE_SANITIZE)
    set(guards -fstack-protector-strong -fstack-clash-protection)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
        list(APPEND guards -fcf-protection=full)
    endif()
    set(fortify $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE> $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=3>)
    add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:${guards};${fortify}>")
    add_link_options(LINKER:-z,relro,-z,now,-z,noexecstack)
endif()
include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)

# Code whose accesses to memory the emulator's shadow memory checks: the sanitizer's calls, but not
# its library.
option(ONECYCLE_SHADOW_MEMORY "Check every access of emulated kernels to memory (slow)" OFF)
set(ONECYCLE_WATCHED_CODE "")
if(ONECYCLE_SHADOW_MEMORY)
    if(ONECYCLE_SANITIZE)
        message(FATAL_ERROR "ONECYCLE_SHADOW_MEMORY and ONECYCLE_SANITIZE exclude each other")
    endif()
    set(ONECYCLE_WATCHED_CODE -fsanitize=thread --param=tsan-instrument-func-entry-exit=0 -Wno-tsan)
endif()

# Code that runs once, or once a step on the host, is optimised a little only: it compiles in less
# time, and nobody would notice the difference. No bit of a result changes.
set(ONECYCLE_COLD_CODE $<$<NOT:$<CONFIG:Debug>>:-O1>)
# What is hot in a layer that is cold else.
set(ONECYCLE_HOT_CODE $<$<CONFIG:Release>:-O3>)

# Most of the compiler's time goes into headers, which sources that are compiled together share. Two
# of a layer's sources must not use one name for two things then, not even in anonymous namespaces;
# a source with options of its own stays alone. GCC takes the anonymous namespace of a source that
# is included for that of a header, and warns.
function(onecycle_compile_together target)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ${ONECYCLE_UNITY} UNITY_BUILD_BATCH_SIZE 10)
    if(ONECYCLE_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
        target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
    endif()
endfunction()

# Layers, and verbs for the command line, of which gcov is to tell what lines were run: scripts/coverage.
# The others are compiled as ever, so that ccache has most of them.
set(ONECYCLE_COVERAGE "" CACHE STRING "Layers whose lines are counted as they run")
if(ONECYCLE_COVERAGE)
    add_link_options(--coverage)
endif()
function(onecycle_count_lines layer)
    if(layer IN_LIST ONECYCLE_COVERAGE)
        target_compile_options(onecycle_${layer} PRIVATE --coverage)
    endif()
endfunction()

# onecycle_add_layer(name SOURCES ... USES ... LIBRARIES ...): one layer of the house as a static
# library. USES names layers to the left of it, LIBRARIES the packages that only its sources see.
function(onecycle_add_layer name)
    cmake_parse_arguments(ARG "" "" "SOURCES;USES;LIBRARIES" ${ARGN})
    add_library(onecycle_${name} STATIC ${ARG_SOURCES})
    target_include_directories(onecycle_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include PRIVATE ${PROJECT_SOURCE_DIR}/src)
    foreach(layer ${ARG_USES})
        target_link_libraries(onecycle_${name} PUBLIC onecycle_${layer})
    endforeach()
    target_link_libraries(onecycle_${name} PRIVATE ${ARG_LIBRARIES})
    onecycle_compile_together(onecycle_${name})
    onecycle_count_lines(${name})
endfunction()

# onecycle_add_test(name SOURCES ... USES ... [LABELS ...]): one GoogleTest binary, its cases seen
# by CTest.
function(onecycle_add_test name)
    cmake_parse_arguments(ARG "" "" "SOURCES;USES;LABELS;LIBRARIES" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
    foreach(layer ${ARG_USES})
        target_link_libraries(${name} PRIVATE onecycle_${layer})
    endforeach()
    target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} GTest::gtest_main)
    target_compile_definitions(${name} PRIVATE
        ONECYCLE_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/reference/data" ONECYCLE_BINARY="${PROJECT_BINARY_DIR}/onecycle")
    add_test(NAME ${name} COMMAND ${name})
    # A test that is meant for a GPU says so; the others give the same answer where one is.
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}"
        ENVIRONMENT_MODIFICATION CUDA_VISIBLE_DEVICES=set:-1)
endfunction()

# The cases of test NAME that match PATTERN, which train on the emulated device and take their time,
# become a slow test of their own, NAME_emulated.
function(onecycle_emulated_apart name pattern)
    add_test(NAME ${name}_emulated COMMAND ${name})
    set_tests_properties(${name} PROPERTIES ENVIRONMENT "GTEST_FILTER=-${pattern}")
    set_tests_properties(${name}_emulated PROPERTIES ENVIRONMENT "GTEST_FILTER=${pattern}" LABELS slow
        ENVIRONMENT_MODIFICATION CUDA_VISIBLE_DEVICES=set:-1)
endfunction()
