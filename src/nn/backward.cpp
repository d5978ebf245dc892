// The backward pass, derived from the forward units in reverse. An activation that was read twice
// gets two gradients; the step that consumes them adds them up where the back end can, else an
// `add` step does.

#include "nn/compiler.h"

namespace onecycle {

namespace {

class Backward {
  public:
    explicit Backward(ProgramBuilder& builder)
        : builder_(builder),
          weight_branch_(builder.program.key.side_branch || builder.backend.weight_gradient_branch() ? 1
                                                                                                     : 0) {}

    void run() {
        gradients_[builder_.logits] = {builder_.logits_gradient};
        for (auto unit = builder_.units.rbegin(); unit != builder_.units.rend(); ++unit) derive(*unit);
    }

  private:
    void derive(const ForwardUnit& unit) {
        switch (unit.kind) {
            case LayerKind::linear:
                return derive_linear(unit);
            case LayerKind::global_average_pool:
                return derive_global_average_pool(unit);
            case LayerKind::adaptive_average_pool:
                return derive_adaptive_average_pool(unit);
            case LayerKind::concat_pool:
                return derive_concat_pool(unit);
            case LayerKind::dropout:
                return derive_dropout(unit);
            case LayerKind::conv2d:
                return derive_conv2d(unit);
            case LayerKind::batch_norm:
                return derive_batch_norm(unit);
            case LayerKind::max_pool:
                return derive_max_pool(unit);
            case LayerKind::relu:
                return derive_relu(unit);
            case LayerKind::add:
                return derive_add(unit);
            case LayerKind::input:
                return;
        }
    }

    // A buffer for the gradient of `buffer`, in its shape and layout, counted among its gradients.
    int gradient_of(int buffer) {
        auto& list = gradients_[buffer];
        const std::string suffix = list.empty() ? "" : "." + std::to_string(list.size() + 1);
        const int gradient =
            builder_.add_buffer("grad " + builder_.name(buffer) + suffix, builder_.desc(buffer));
        list.push_back(gradient);
        return gradient;
    }

    // The gradients of a value, at most `limit` of them: surplus ones are added up first.
    std::vector<int> incoming(int buffer, std::size_t limit) {
        std::vector<int> list = gradients_[buffer];
        while (list.size() > limit) {
            const int sum =
                builder_.add_buffer("sum of grad " + builder_.name(buffer), builder_.desc(buffer));
            builder_.add_op("add grad " + builder_.name(buffer), Phase::backward, {.kind = OpKind::add},
                            {list[0], list[1]}, {sum});
            list.erase(list.begin());
            list[0] = sum;
        }
        return list;
    }

    bool fuses(Fusion fusion) const { return builder_.program.key.fuse && builder_.backend.can_fuse(fusion); }

    std::size_t gradients_taken() const { return fuses(Fusion::sum_of_gradients) ? 2 : 1; }

    void step(const std::string& name, const OpDesc& desc, const std::vector<int>& inputs,
              const std::vector<int>& outputs, int branch = 0) {
        builder_.add_op(name, Phase::backward, desc, inputs, outputs, branch);
    }

    void derive_linear(const ForwardUnit& unit) {
        const int dy = incoming(unit.y, 1)[0];
        const std::vector<int>& parameters = unit.layer->parameters;
        if (builder_.needs_gradient(unit.x))
            step(unit.layer->name + " dx", {.kind = OpKind::linear_backward_data},
                 {dy, builder_.parameter(parameters[0])}, {gradient_of(unit.x)});
        if (builder_.is_frozen(parameters[0])) return;
        OpDesc desc{.kind = OpKind::linear_backward_weights};
        desc.bias = parameters.size() == 2;
        std::vector<int> outputs;
        for (int p : parameters) outputs.push_back(builder_.gradient(p));
        step(unit.layer->name + " dw", desc, {dy, unit.x}, outputs, weight_branch_);
    }

    void derive_global_average_pool(const ForwardUnit& unit) {
        const int dy = incoming(unit.y, 1)[0];
        step("avgpool dx", {.kind = OpKind::global_average_pool_backward}, {dy}, {gradient_of(unit.x)});
    }

    void derive_adaptive_average_pool(const ForwardUnit& unit) {
        const int dy = incoming(unit.y, 1)[0];
        step("avgpool dx", {.kind = OpKind::adaptive_average_pool_backward, .kernel = unit.layer->kernel},
             {dy}, {gradient_of(unit.x)});
    }

    void derive_concat_pool(const ForwardUnit& unit) {
        const int dy = incoming(unit.y, 1)[0];
        step("concatpool dx", {.kind = OpKind::concat_pool_backward}, {dy, unit.index},
             {gradient_of(unit.x)});
    }

    void derive_dropout(const ForwardUnit& unit) {
        const int dy = incoming(unit.y, 1)[0];
        OpDesc desc = builder_.program.ops[static_cast<std::size_t>(unit.op)].desc;
        desc.inputs.clear();
        desc.outputs.clear();
        step(builder_.name(unit.y) + " dx", desc, {dy, builder_.control()}, {gradient_of(unit.x)});
    }

    void derive_conv2d(const ForwardUnit& unit) {
        const Layer& l = *unit.layer;
        const int dy = incoming(unit.y, 1)[0];
        OpDesc desc{.kernel = l.kernel, .stride = l.stride, .padding = l.padding};
        if (builder_.needs_gradient(unit.x)) {
            desc.kind = OpKind::conv2d_backward_data;
            std::vector<int> inputs = {dy, builder_.parameter(l.parameters[0])};
            // A second reader of x: its gradient joins the one that is there, unless that is the
            // gradient of something else, too.
            desc.accumulate = gradients_[unit.x].size() == 1 && !shared_.count(gradients_[unit.x][0]) &&
                              fuses(Fusion::accumulated_gradient);
            const int dx = desc.accumulate ? gradients_[unit.x][0] : gradient_of(unit.x);
            if (desc.accumulate) inputs.push_back(dx);
            step(l.name + " dx", desc, inputs, {dx});
            desc.accumulate = false;
        }
        if (builder_.is_frozen(l.parameters[0])) return;
        desc.kind = OpKind::conv2d_backward_weights;
        step(l.name + " dw", desc, {dy, unit.x}, {builder_.gradient(l.parameters[0])}, weight_branch_);
        if (l.parameters.size() > 1)
            step(l.name + " db", {.kind = OpKind::channel_bias_gradient}, {dy},
                 {builder_.gradient(l.parameters[1])}, weight_branch_);
    }

    void derive_batch_norm(const ForwardUnit& unit) {
        const Layer& l = *unit.layer;
        const std::vector<int> dy = incoming(unit.y, gradients_taken());
        if (unit.second) return derive_batch_norm_pair(unit, dy);
        if (unit.pool) return derive_batch_norm_max_pool(unit, dy);
        if (builder_.synchronized() && unit.mean >= 0) return derive_synchronized_batch_norm(unit, dy);
        const int gamma = l.parameters[0], beta = l.parameters[1];
        OpDesc desc{.kind = OpKind::batch_norm_backward,
                    .relu = unit.relu,
                    .residual = unit.residual >= 0,
                    .second_gradient = dy.size() == 2};
        std::vector<int> inputs = {
            dy[0], unit.x, unit.mean, unit.variance, builder_.parameter(gamma), builder_.parameter(beta)};
        if (desc.second_gradient) inputs.push_back(dy[1]);
        if (desc.residual) inputs.push_back(unit.y);
        std::vector<int> outputs = {gradient_of(unit.x), builder_.gradient(gamma), builder_.gradient(beta)};
        if (desc.residual) outputs.push_back(gradient_of(unit.residual));
        step(builder_.name(unit.y) + " dx", desc, inputs, outputs);
    }

    // dx takes the means of dgamma and dbeta over the ranks: the gradient of the mean of all ranks'
    // losses, of which each rank's is as many times as large as there are ranks.
    void derive_synchronized_batch_norm(const ForwardUnit& unit, const std::vector<int>& dy) {
        const int gamma = unit.layer->parameters[0], beta = unit.layer->parameters[1];
        const std::string name = builder_.name(unit.y);
        OpDesc desc{.kind = OpKind::batch_norm_gradients,
                    .relu = unit.relu,
                    .residual = unit.residual >= 0,
                    .second_gradient = dy.size() == 2};
        const std::vector<int> forward = {unit.x, unit.mean, unit.variance, builder_.parameter(gamma),
                                          builder_.parameter(beta)};
        std::vector<int> inputs = {dy[0]};
        inputs.insert(inputs.end(), forward.begin(), forward.end());
        if (desc.second_gradient) inputs.push_back(dy[1]);
        if (desc.residual) inputs.push_back(unit.y);
        const std::vector<int> own = {builder_.gradient(gamma), builder_.gradient(beta)};
        std::vector<int> outputs = own;
        if (desc.residual) outputs.push_back(gradient_of(unit.residual));
        step(name + " dgamma", desc, inputs, outputs);

        OpDesc average = builder_.reduction();
        average.kind = OpKind::average_gradients;
        const std::int64_t channels = builder_.desc(unit.mean).elements();
        const std::vector<int> means = {builder_.vector("mean dgamma " + unit.layer->name, channels),
                                        builder_.vector("mean dbeta " + unit.layer->name, channels)};
        builder_.add_collective(name + " dgamma of all ranks", Phase::backward, average, own, means);

        // The residual's gradient is what is left of dy after the ReLU.
        inputs = {desc.residual ? outputs[2] : dy[0]};
        inputs.insert(inputs.end(), forward.begin(), forward.end());
        inputs.insert(inputs.end(), means.begin(), means.end());
        if (desc.residual) desc.relu = desc.residual = desc.second_gradient = false;
        if (desc.second_gradient) inputs.push_back(dy[1]);
        desc.kind = OpKind::batch_norm_input_gradient;
        step(name + " dx", desc, inputs, {gradient_of(unit.x)});
    }

    void derive_batch_norm_pair(const ForwardUnit& unit, const std::vector<int>& dy) {
        const auto &a = unit.layer->parameters, &b = unit.second->parameters;
        std::vector<int> inputs = {dy[0],
                                   unit.x,
                                   unit.mean,
                                   unit.variance,
                                   builder_.parameter(a[0]),
                                   unit.x2,
                                   unit.mean2,
                                   unit.variance2,
                                   builder_.parameter(b[0]),
                                   unit.y};
        if (dy.size() == 2) inputs.push_back(dy[1]);
        const int dx = gradient_of(unit.x), dx2 = gradient_of(unit.x2);
        step(builder_.name(unit.y) + " dx",
             {.kind = OpKind::batch_norm_pair_backward, .relu = true, .second_gradient = dy.size() == 2},
             inputs,
             {dx, builder_.gradient(a[0]), builder_.gradient(a[1]), dx2, builder_.gradient(b[0]),
              builder_.gradient(b[1])});
    }

    void derive_batch_norm_max_pool(const ForwardUnit& unit, const std::vector<int>& dy) {
        const auto& p = unit.layer->parameters;
        std::vector<int> inputs = {dy[0],
                                   unit.index,
                                   unit.x,
                                   unit.mean,
                                   unit.variance,
                                   builder_.parameter(p[0]),
                                   builder_.parameter(p[1])};
        if (dy.size() == 2) inputs.push_back(dy[1]);
        step(builder_.name(unit.y) + " dx",
             {.kind = OpKind::batch_norm_max_pool_backward,
              .kernel = unit.pool->kernel,
              .stride = unit.pool->stride,
              .padding = unit.pool->padding,
              .relu = true,
              .second_gradient = dy.size() == 2},
             inputs, {gradient_of(unit.x), builder_.gradient(p[0]), builder_.gradient(p[1])});
    }

    void derive_max_pool(const ForwardUnit& unit) {
        const Layer& l = *unit.layer;
        const std::vector<int> dy = incoming(unit.y, gradients_taken());
        OpDesc desc{.kind = OpKind::max_pool_backward,
                    .kernel = l.kernel,
                    .stride = l.stride,
                    .padding = l.padding,
                    .second_gradient = dy.size() == 2};
        std::vector<int> inputs = {dy[0], unit.index};
        if (desc.second_gradient) inputs.push_back(dy[1]);
        step("maxpool dx", desc, inputs, {gradient_of(unit.x)});
    }

    void derive_relu(const ForwardUnit& unit) {
        const int dy = incoming(unit.y, 1)[0];
        step(builder_.name(unit.y) + " dx", {.kind = OpKind::relu_backward}, {dy, unit.y},
             {gradient_of(unit.x)});
    }

    void derive_add(const ForwardUnit& unit) {
        // d(a+b) = da + db: both operands share the gradient, nothing is copied.
        const int dy = incoming(unit.y, 1)[0];
        shared_.insert(dy);
        for (int x : {unit.x, unit.residual})
            if (builder_.needs_gradient(x)) gradients_[x].push_back(dy);
    }

    ProgramBuilder& builder_;
    int weight_branch_;
    std::map<int, std::vector<int>> gradients_;  // by activation
    std::set<int> shared_;                       // those that are the gradient of several activations
};

}  // namespace

void add_backward(ProgramBuilder& builder) {
    Backward(builder).run();
}

}  // namespace onecycle
