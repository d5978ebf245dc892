# Dependencies, by the name of their Debian package. Nothing is downloaded. CUDA: cuda.cmake.
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)  # a project around this one links what the library links
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(fmt REQUIRED)                   # libfmt-dev
find_package(nlohmann_json REQUIRED)         # nlohmann-json3-dev
find_package(CLI11 REQUIRED)                 # libcli11-dev
find_package(dnnl REQUIRED)                  # libdnnl-dev
find_package(Boost REQUIRED COMPONENTS context)  # libboost-context-dev: the fibers of emulated CUDA
find_package(ZLIB REQUIRED)                  # zlib1g-dev: CRC-32
find_package(OpenSSL REQUIRED COMPONENTS Crypto)  # libssl-dev: SHA-256
find_package(PkgConfig REQUIRED)             # pkg-config
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET GLOBAL libutf8proc)  # libutf8proc-dev: Unicode normalisation
# The libraries that decode images, each optional: src/data/CMakeLists.txt. Debian: libpng-dev
# libjpeg-dev libwebp-dev libtiff-dev libheif-dev. libheif decodes AVIF and HEIC. And the one that reads
# shards: libarchive-dev.
set(PNG_MODULES libpng)
set(JPEG_MODULES libjpeg)
set(WEBP_MODULES libwebp libwebpdemux)
set(TIFF_MODULES libtiff-4)
set(HEIF_MODULES libheif)
set(ARCHIVE_MODULES libarchive)
foreach(package PNG JPEG WEBP TIFF HEIF ARCHIVE)
    pkg_check_modules(${package} IMPORTED_TARGET GLOBAL ${${package}_MODULES})
endforeach()
find_path(STB_INCLUDE_DIR stb/stb_image.h REQUIRED)        # libstb-dev
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)            # libxxhash-dev, header only here
# Optional: src/mpi, which alone is linked with it. Debian: libopenmpi-dev openmpi-bin.
set(MPI_CXX_SKIP_MPICXX TRUE)
find_package(MPI QUIET COMPONENTS CXX)
if(ONECYCLE_BUILD_TESTS)
    find_package(GTest REQUIRED)             # libgtest-dev
endif()
if(ONECYCLE_BUILD_BENCH)
    find_package(benchmark REQUIRED)         # libbenchmark-dev
endif()
