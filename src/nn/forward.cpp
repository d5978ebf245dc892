// From layers to forward steps. Batch norm, the residual addition and the ReLU become one step
// where the back end can run them as one.
#include <algorithm>

#include "nn/compiler.h"

namespace onecycle {

namespace {

class Forward {
  public:
    explicit Forward(ProgramBuilder& builder)
        : builder_(builder),
          layers_(builder.network.layers()),
          values_(layers_.size(), -1),
          readers_(layers_.size()),
          done_(layers_.size(), false) {
        for (std::size_t i = 0; i < layers_.size(); ++i)
            for (int x : layers_[i].inputs)
                readers_[static_cast<std::size_t>(x)].push_back(static_cast<int>(i));
    }

    void run() {
        for (int i = 0; i < static_cast<int>(layers_.size()); ++i)
            if (!done_[static_cast<std::size_t>(i)]) lower(i);
    }

  private:
    const Layer& layer(int i) const { return layers_[static_cast<std::size_t>(i)]; }
    int value(int i) const { return values_[static_cast<std::size_t>(i)]; }
    bool training() const { return builder_.program.key.mode == Mode::train; }

    // The value of layer i is in `buffer`, made by the unit's layer, or by i itself.
    void finish(int i, int buffer, ForwardUnit unit) {
        values_[static_cast<std::size_t>(i)] = buffer;
        done_[static_cast<std::size_t>(i)] = true;
        unit.y = buffer;
        if (!unit.layer) unit.layer = &layer(i);
        unit.kind = unit.layer->kind;
        if (!training() || !learns(unit)) return;
        builder_.set_needs_gradient(buffer);
        builder_.units.push_back(unit);
    }

    // Whether anything in or before this step is trained.
    bool learns(const ForwardUnit& unit) const {
        for (int x : {unit.x, unit.residual, unit.x2})
            if (builder_.needs_gradient(x)) return true;
        for (const Layer* l : {unit.layer, unit.second})
            if (l && std::any_of(l->parameters.begin(), l->parameters.end(),
                                 [&](int p) { return !builder_.is_frozen(p); }))
                return true;
        return false;
    }

    // The only reader of a layer's output if it is of this kind, else -1.
    int only_reader(int i, LayerKind kind) const {
        const auto& list = readers_[static_cast<std::size_t>(i)];
        return list.size() == 1 && layer(list[0]).kind == kind ? list[0] : -1;
    }

    bool fuses(Fusion fusion) const { return builder_.program.key.fuse && builder_.backend.can_fuse(fusion); }

    void lower(int i) {
        switch (layer(i).kind) {
            case LayerKind::input:
                return lower_input(i);
            case LayerKind::conv2d:
                return lower_conv2d(i);
            case LayerKind::batch_norm:
                return lower_batch_norm(i);
            case LayerKind::relu:
                return lower_relu(i);
            case LayerKind::add:
                return lower_add(i);
            case LayerKind::max_pool:
                return lower_max_pool(i);
            case LayerKind::global_average_pool:
                return lower_global_average_pool(i);
            case LayerKind::adaptive_average_pool:
                return lower_adaptive_average_pool(i);
            case LayerKind::concat_pool:
                return lower_concat_pool(i);
            case LayerKind::dropout:
                return lower_dropout(i);
            case LayerKind::linear:
                return lower_linear(i);
        }
    }

    void lower_input(int i) {
        values_[static_cast<std::size_t>(i)] = add_input(builder_, layer(i));
        done_[static_cast<std::size_t>(i)] = true;
    }

    void lower_conv2d(int i) {
        const Layer& l = layer(i);
        const int x = value(l.inputs[0]), y = builder_.activation(l.name, l);
        OpDesc desc{.kind = OpKind::conv2d, .kernel = l.kernel, .stride = l.stride, .padding = l.padding};
        builder_.add_op(l.name, Phase::forward, desc, {x, builder_.parameter(l.parameters[0])}, {y});
        if (l.parameters.size() > 1)
            builder_.add_op(l.name + "+bias", Phase::forward, {.kind = OpKind::add_channel_bias},
                            {y, builder_.parameter(l.parameters[1])}, {y});
        finish(i, y, {.x = x});
    }

    void lower_batch_norm(int i) {
        // bn -> add -> relu: the step stands where the ReLU stands, when the other operand is there
        // too.
        const int add = only_reader(i, LayerKind::add);
        const int add_relu = add >= 0 ? only_reader(add, LayerKind::relu) : -1;
        const bool first_operand = add >= 0 && layer(add).inputs[0] == i && layer(add).inputs[1] != i;
        if (add_relu >= 0 && first_operand && fuses(Fusion::batch_norm_add_relu)) {
            fused_with_[add_relu] = i;
            done_[static_cast<std::size_t>(i)] = done_[static_cast<std::size_t>(add)] = true;
            return;
        }
        const bool whole = builder_.trains(layer(i)) && !builder_.synchronized();  // one step, not parts
        if (add_relu >= 0 && whole && fuses(Fusion::batch_norm_pair))
            if (const auto first = fused_with_.find(add_relu);
                first != fused_with_.end() && layer(add).inputs[0] == first->second) {
                second_of_[add_relu] = i;
                done_[static_cast<std::size_t>(i)] = true;
                return;
            }
        const int relu = only_reader(i, LayerKind::relu);
        const int pool = relu >= 0 ? only_reader(relu, LayerKind::max_pool) : -1;
        if (pool >= 0 && whole && fuses(Fusion::batch_norm_max_pool))
            return emit_batch_norm_max_pool(i, relu, pool);
        if (relu >= 0 && fuses(Fusion::batch_norm_relu)) return emit_batch_norm(i, relu, true, -1);
        emit_batch_norm(i, i, false, -1);
    }

    // Buffers for the batch's mean and variance of a batch norm.
    std::vector<int> batch_statistics(const Layer& l) {
        const auto k = static_cast<std::size_t>(l.statistics);
        const std::int64_t channels = builder_.layout.statistics[k].channels;
        // Where several micro batches make an update they lie together, to be added up.
        const bool together = builder_.program.key.batches_per_update() > 1;
        const auto place = [&](bool second) {
            const std::int64_t at =
                builder_.layout.batch_statistics[k] + (second ? padded_to_segment(channels) : 0);
            return static_cast<std::size_t>(at) * sizeof(float);
        };
        const auto vector = [&](const std::string& name, bool second) {
            return together ? builder_.add_buffer(name, {channels}, Space::batch_statistics, place(second))
                            : builder_.vector(name, channels);
        };
        const int mean = vector("mean " + l.name, false), variance = vector("variance " + l.name, true);
        builder_.statistics.push_back({&l, mean, variance});
        return {mean, variance};
    }

    // The mean and variance of x on all ranks.
    void combine_statistics(const Layer& l, int x, const std::vector<int>& of_all) {
        const std::int64_t channels = builder_.desc(of_all[0]).elements();
        const std::vector<int> own = {builder_.vector("own mean " + l.name, channels),
                                      builder_.vector("own variance " + l.name, channels)};
        builder_.add_op(l.name + " statistics", Phase::forward, {.kind = OpKind::batch_norm_statistics}, {x},
                        own);
        OpDesc desc = builder_.reduction();
        desc.kind = OpKind::combine_statistics;
        builder_.add_collective(l.name + " of all ranks", Phase::forward, desc, own, of_all);
    }

    // Features are [N,C].
    int features(const std::string& name, const Layer& l, DType type) {
        return builder_.add_buffer(name,
                                   TensorDesc({builder_.program.key.batch, l.shape[0]}, Layout::plain, type));
    }

    int activation_like(const std::string& name, const Layer& l, int x) {
        if (builder_.desc(x).rank == 2) return features(name, l, builder_.layout.compute);
        const int y = builder_.activation(name, l);
        builder_.program.buffers[static_cast<std::size_t>(y)].desc.layout = builder_.desc(x).layout;
        return y;
    }

    void emit_batch_norm_pair(int i, int second, int last) {
        const Layer &a = layer(i), &b = layer(second);
        const int x = value(a.inputs[0]), x2 = value(b.inputs[0]);
        const std::string name = a.name + "+" + b.name + "+relu";
        const int y = activation_like(name, a, x);
        const auto first_statistics = batch_statistics(a), second_statistics = batch_statistics(b);
        builder_.add_op(
            name, Phase::forward, {.kind = OpKind::batch_norm_pair, .relu = true},
            {x, builder_.parameter(a.parameters[0]), builder_.parameter(a.parameters[1]), x2,
             builder_.parameter(b.parameters[0]), builder_.parameter(b.parameters[1])},
            {y, first_statistics[0], first_statistics[1], second_statistics[0], second_statistics[1]});
        finish(last, y,
               {.layer = &a,
                .x = x,
                .relu = true,
                .mean = first_statistics[0],
                .variance = first_statistics[1],
                .second = &b,
                .x2 = x2,
                .mean2 = second_statistics[0],
                .variance2 = second_statistics[1]});
    }

    void emit_batch_norm_max_pool(int i, int relu, int pool) {
        const Layer &l = layer(i), &p = layer(pool);
        const int x = value(l.inputs[0]);
        const std::string name = l.name + "+relu+maxpool";
        const int y = activation_like(name, p, x);
        TensorDesc index = builder_.desc(y);
        index.type = DType::u8;
        const int places = builder_.add_buffer(name + ".index", index);
        const auto statistics = batch_statistics(l);
        builder_.add_op(name, Phase::forward,
                        {.kind = OpKind::batch_norm_max_pool,
                         .kernel = p.kernel,
                         .stride = p.stride,
                         .padding = p.padding,
                         .relu = true},
                        {x, builder_.parameter(l.parameters[0]), builder_.parameter(l.parameters[1])},
                        {y, places, statistics[0], statistics[1]});
        finish(pool, y,
               {.layer = &l,
                .x = x,
                .relu = true,
                .mean = statistics[0],
                .variance = statistics[1],
                .index = places,
                .pool = &p});
        for (int fused : {i, relu}) done_[static_cast<std::size_t>(fused)] = true;
    }

    // `last` is the layer whose value the step produces.
    void emit_batch_norm(int i, int last, bool relu, int residual) {
        const Layer& l = layer(i);
        const auto& statistics = builder_.layout.statistics[static_cast<std::size_t>(l.statistics)];
        const int x = value(l.inputs[0]);
        const int gamma = builder_.parameter(l.parameters[0]), beta = builder_.parameter(l.parameters[1]);
        const std::string name = l.name + (residual >= 0 ? "+add" : "") + (relu ? "+relu" : "");
        const int y = activation_like(name, l, x);

        OpDesc desc{.relu = relu, .residual = residual >= 0};
        ForwardUnit unit{.layer = &l, .x = x, .residual = residual, .relu = relu};
        std::vector<int> inputs = {x, gamma, beta}, outputs = {y};
        if (builder_.trains(l)) {
            desc.kind = OpKind::batch_norm;
            const auto batch = batch_statistics(l);
            unit.mean = batch[0];
            unit.variance = batch[1];
            if (builder_.synchronized()) {
                desc.kind = OpKind::batch_norm_inference;
                combine_statistics(l, x, batch);
                inputs.insert(inputs.end(), batch.begin(), batch.end());
            } else {
                outputs.insert(outputs.end(), batch.begin(), batch.end());
            }
        } else {
            desc.kind = OpKind::batch_norm_inference;
            const auto offset = static_cast<std::size_t>(statistics.offset) * sizeof(float);
            const std::size_t bytes = static_cast<std::size_t>(statistics.channels) * sizeof(float);
            const TensorDesc channels{statistics.channels};
            inputs.push_back(
                builder_.add_buffer(l.name + ".running_mean", channels, Space::statistics, offset));
            inputs.push_back(
                builder_.add_buffer(l.name + ".running_var", channels, Space::statistics, offset + bytes));
        }
        if (residual >= 0) inputs.push_back(residual);
        builder_.add_op(name, Phase::forward, desc, inputs, outputs);
        finish(last, y, unit);
        values_[static_cast<std::size_t>(i)] = y;
        done_[static_cast<std::size_t>(i)] = true;
    }

    void lower_relu(int i) {
        if (const auto fused = fused_with_.find(i); fused != fused_with_.end()) {
            if (const auto second = second_of_.find(i); second != second_of_.end())
                return emit_batch_norm_pair(fused->second, second->second, i);
            const Layer& add = layer(layer(i).inputs[0]);
            return emit_batch_norm(fused->second, i, true, value(add.inputs[1]));
        }
        const int x = value(layer(i).inputs[0]);
        const int y = activation_like("relu of " + builder_.name(x), layer(i), x);
        builder_.add_op(builder_.name(y), Phase::forward, {.kind = OpKind::relu}, {x}, {y});
        finish(i, y, {.x = x});
    }

    void lower_add(int i) {
        const int a = value(layer(i).inputs[0]), b = value(layer(i).inputs[1]);
        const int y = activation_like(builder_.name(a) + "+add", layer(i), a);
        builder_.add_op(builder_.name(y), Phase::forward, {.kind = OpKind::add}, {a, b}, {y});
        finish(i, y, {.x = a, .residual = b});
    }

    void lower_max_pool(int i) {
        const Layer& l = layer(i);
        const int x = value(l.inputs[0]);
        const int y = activation_like("maxpool", l, x);
        TensorDesc index = builder_.desc(y);
        index.type = DType::u8;
        const int places = builder_.add_buffer("maxpool.index", index);
        OpDesc desc{.kind = OpKind::max_pool, .kernel = l.kernel, .stride = l.stride, .padding = l.padding};
        builder_.add_op("maxpool", Phase::forward, desc, {x}, {y, places});
        finish(i, y, {.x = x, .index = places});
    }

    void lower_global_average_pool(int i) {
        const int x = value(layer(i).inputs[0]);
        const int y = features("avgpool", layer(i), builder_.layout.compute);
        builder_.add_op("avgpool", Phase::forward, {.kind = OpKind::global_average_pool}, {x}, {y});
        finish(i, y, {.x = x});
    }

    void lower_adaptive_average_pool(int i) {
        const int x = value(layer(i).inputs[0]);
        const int y = features("avgpool", layer(i), builder_.layout.compute);
        builder_.add_op("avgpool", Phase::forward,
                        {.kind = OpKind::adaptive_average_pool, .kernel = layer(i).kernel}, {x}, {y});
        finish(i, y, {.x = x});
    }

    void lower_concat_pool(int i) {
        const int x = value(layer(i).inputs[0]);
        const int y = features("concatpool", layer(i), builder_.layout.compute);
        const int index = builder_.add_buffer(
            "concatpool.index",
            TensorDesc({builder_.program.key.batch, layer(i).shape[0] / 2}, Layout::plain, DType::i32));
        builder_.add_op("concatpool", Phase::forward, {.kind = OpKind::concat_pool}, {x}, {y, index});
        finish(i, y, {.x = x, .index = index});
    }

    // The same step forward and backward.
    void lower_dropout(int i) {
        const Layer& l = layer(i);
        const int x = value(l.inputs[0]);
        const auto number = static_cast<std::uint32_t>(
            std::count_if(layers_.begin(), layers_.begin() + i,
                          [](const Layer& other) { return other.kind == LayerKind::dropout; }));
        if (!training() || l.dropout == 0) {
            values_[static_cast<std::size_t>(i)] = x;
            done_[static_cast<std::size_t>(i)] = true;
            return;
        }
        const std::string name = "dropout of " + builder_.name(x);
        const int y = activation_like(name, l, x);
        OpDesc desc{.kind = OpKind::dropout};
        desc.dropout = l.dropout;
        desc.seed = builder_.program.key.seed;
        desc.dropout_layer = number;
        builder_.add_op(name, Phase::forward, desc, {x, builder_.control()}, {y});
        finish(i, y, {.x = x, .op = static_cast<int>(builder_.program.ops.size()) - 1});
    }

    void lower_linear(int i) {
        const Layer& l = layer(i);
        const int x = value(l.inputs[0]);
        const bool classifier = readers_[static_cast<std::size_t>(i)].empty();
        const int y = features(l.name, l, classifier ? DType::f32 : builder_.layout.compute);
        OpDesc desc{.kind = OpKind::linear};
        desc.bias = l.parameters.size() == 2;
        std::vector<int> inputs = {x, builder_.parameter(l.parameters[0])};
        if (desc.bias) inputs.push_back(builder_.parameter(l.parameters[1]));
        builder_.add_op(l.name, Phase::forward, desc, inputs, {y});
        finish(i, y, {.x = x});
        builder_.logits = y;
    }

    ProgramBuilder& builder_;
    const std::vector<Layer>& layers_;
    std::vector<int> values_;                // buffer of each layer's output
    std::vector<std::vector<int>> readers_;  // layers that read each layer's output
    std::vector<bool> done_;
    std::map<int, int> fused_with_;  // ReLU -> the batch norm whose step it ends
    std::map<int, int> second_of_;   // ReLU -> the second batch norm of its pair
};

}  // namespace

void add_forward(ProgramBuilder& builder) {
    Forward(builder).run();
}

}  // namespace onecycle
