// The only door to oneDNN: convolutions and copies between layouts. Written so that versions 2 and
// 3 both compile; nothing of oneDNN's own types is seen outside.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "core/tensor.h"

namespace onecycle::onednn {

enum class Pass { forward, backward_data, backward_weights };

// Operands of every pass: x and y are activations or their gradients.
enum Operand { operand_x = 0, operand_w = 1, operand_y = 2 };

struct ConvolutionSpec {
    Pass pass{};
    std::array<TensorDesc, 3> operands;  // x, w, y; a layout `any` is chosen by oneDNN
    int stride = 1, padding = 0;
    int threads = 1;  // it will run on exactly so many; 1 may run inside a parallel region
};

// A convolution that oneDNN can do, not yet compiled.
class Convolution {
  public:
    // Nothing when oneDNN cannot do it with these layouts.
    static std::optional<Convolution> find(const ConvolutionSpec& spec);

    const ConvolutionSpec& spec() const;
    std::string implementation() const;  // "jit:avx512_core"
    bool fast() const;                   // neither by matrix products over copies nor the reference
    std::size_t scratchpad() const;      // bytes
    std::size_t bytes(Operand operand) const;
    // `any` when the layout oneDNN chose has no name here.
    Layout layout(Operand operand) const;
    bool same_layout(const Convolution& other, Operand operand) const;

  private:
    friend class Runner;
    friend class Reorder;
    struct Impl;
    std::shared_ptr<const Impl> impl_;
};

// Runs a convolution. One runner serves one thread at a time.
class Runner {
  public:
    explicit Runner(const Convolution& convolution);
    Runner(Runner&&) noexcept;
    ~Runner();
    // Pointers in the order x, w, y.
    void run(void* const* operands, void* scratchpad) const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Copies a tensor of ours to the layout a convolution wants for an operand, or back.
class Reorder {
  public:
    Reorder(const TensorDesc& ours, const Convolution& convolution, Operand operand, bool to_ours);
    Reorder(Reorder&&) noexcept;
    ~Reorder();
    std::size_t scratchpad() const;
    void run(void* from, void* to, void* scratchpad) const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Caps the instruction sets oneDNN may use where the processor's description of AMX is broken. Call
// before anything else here.
void guard_instruction_set();
std::string instruction_set();
bool has_avx512();
std::string version();

}  // namespace onecycle::onednn
