// Matrix products of the classifier by cuBLAS. Its results are equal from run to run when each
// handle has a workspace of its own, whatever runs on other streams: every operation gives it part
// of its workspace.
#include "ops/cuda/cublas.h"

#include <cublas_v2.h>
#include <fmt/format.h>

#include <mutex>

#include "device/cuda/library.h"
#include "device/cuda/library_call.h"
#include "onecycle/error.h"
#include "ops/cuda/convolution.h"

namespace onecycle {

namespace {

// The version that the headers are of: the end of a file's name, and our name for it.
#define ONECYCLE_TEXT_OF(x) #x
#define ONECYCLE_TEXT(x) ONECYCLE_TEXT_OF(x)
#define ONECYCLE_CUBLAS "." ONECYCLE_TEXT(CUBLAS_VER_MAJOR), "cuBLAS " ONECYCLE_TEXT(CUBLAS_VER_MAJOR)

struct Functions {
    SharedLibrary lt{"libcublasLt.so" ONECYCLE_CUBLAS};  // the other one needs it: found first, it is used
    SharedLibrary library{"libcublas.so" ONECYCLE_CUBLAS};
#define ONECYCLE_FUNCTION(name, symbol) \
    decltype(&::symbol) name = library.function<decltype(::symbol)>(#symbol)
    ONECYCLE_FUNCTION(create, cublasCreate_v2);
    ONECYCLE_FUNCTION(destroy, cublasDestroy_v2);
    ONECYCLE_FUNCTION(set_stream, cublasSetStream_v2);
    ONECYCLE_FUNCTION(set_workspace, cublasSetWorkspace_v2);
    ONECYCLE_FUNCTION(set_math_mode, cublasSetMathMode);
    ONECYCLE_FUNCTION(get_property, cublasGetProperty);
    ONECYCLE_FUNCTION(status_string, cublasGetStatusString);
    cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void*,
                           const void*, cudaDataType, int, const void*, cudaDataType, int, const void*, void*,
                           cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t) =
        library.function<std::remove_pointer_t<decltype(gemm)>>("cublasGemmEx");
#undef ONECYCLE_FUNCTION
};

void check_cublas(const Functions& f, cublasStatus_t status, const char* what) {
    if (status != CUBLAS_STATUS_SUCCESS)
        throw Error(ErrorKind::device, "cuBLAS failed", what, f.status_string(status));
}

// What NVIDIA advises for Hopper; enough for every GPU.
constexpr std::size_t workspace_bytes = std::size_t{32} << 20;

class Handle {
  public:
    Handle() {
        check_cublas(functions, functions.create(&raw), "cublasCreate");
        // Partial sums of 16-bit products stay f32.
        check_cublas(functions,
                     functions.set_math_mode(
                         raw, static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH |
                                                        CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)),
                     "cublasSetMathMode");
    }
    ~Handle() { functions.destroy(raw); }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;

    Functions functions;
    cublasHandle_t raw = nullptr;
};

// Shared by all operations that live.
std::shared_ptr<const Handle> shared_handle() {
    static std::mutex mutex;
    static std::weak_ptr<const Handle> shared;
    const std::lock_guard lock(mutex);
    std::shared_ptr<const Handle> found = shared.lock();
    if (!found) {
        found = std::make_shared<const Handle>();
        shared = found;
    }
    return found;
}

cudaDataType data_type(DType type) {
    return type == DType::bf16 ? CUDA_R_16BF : type == DType::f16 ? CUDA_R_16F : CUDA_R_32F;
}

// A row-major matrix is a transposed column-major one, so cuBLAS computes the transposed product:
// out^T [m,n] from a [m,k], the problem's second operand (or a^T), and b [k,n], its first one (or
// b^T).
struct Operands {
    cublasOperation_t a_turned, b_turned;
    std::int64_t m, n, k, a_row, b_row;
};

Operands operands_of(const ConvolutionProblem& p) {
    switch (p.pass) {
        case Pass::forward:  // y^T [O,N] = w [O,C] x^T
            return {CUBLAS_OP_T, CUBLAS_OP_N, p.o, p.n, p.c, p.c, p.c};
        case Pass::backward_data:  // dx^T [C,N] = w^T dy^T
            return {CUBLAS_OP_N, CUBLAS_OP_N, p.c, p.n, p.o, p.c, p.o};
        case Pass::backward_weights:
            break;
    }
    return {CUBLAS_OP_N, CUBLAS_OP_T, p.c, p.o, p.n, p.c, p.o};  // dw^T [C,O] = x^T dy
}

}  // namespace

std::string cublas_version() {
    const Functions f;
    int major = 0, minor = 0, patch = 0;
    f.get_property(MAJOR_VERSION, &major);
    f.get_property(MINOR_VERSION, &minor);
    f.get_property(PATCH_LEVEL, &patch);
    return fmt::format("{}.{}.{}", major, minor, patch);
}

namespace cuda {

PlannedProduct plan_matrix_product(const ConvolutionProblem& problem, const Context& context) {
    const Operands o = operands_of(problem);
    const auto compute =
        context.tf32 && problem.type == DType::f32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    return {"cublas", workspace_bytes,
            [=, type = data_type(problem.type), output_type = data_type(problem.output_type),
             handle = shared_handle()](const void* first, const void* second, void* out, void* workspace,
                                       cudaStream_t stream) {
                const Functions& f = handle->functions;
                const float one = 1, zero = 0;
                const LibraryCall call;
                check_cublas(f, f.set_stream(handle->raw, stream), "cublasSetStream");
                check_cublas(f, f.set_workspace(handle->raw, workspace, workspace_bytes),
                             "cublasSetWorkspace");
                check_cublas(f,
                             f.gemm(handle->raw, o.a_turned, o.b_turned, static_cast<int>(o.m),
                                    static_cast<int>(o.n), static_cast<int>(o.k), &one, second, type,
                                    static_cast<int>(o.a_row), first, type, static_cast<int>(o.b_row), &zero,
                                    out, output_type, static_cast<int>(o.m), compute, CUBLAS_GEMM_DEFAULT),
                             "cublasGemmEx");
            }};
}

}  // namespace cuda

}  // namespace onecycle
