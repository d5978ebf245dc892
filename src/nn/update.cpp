// The end of a micro batch: gradients are added up. After the last one they are checked, then
// weights, moments, batch-norm statistics, average and counters take effect together, or nothing
// does.
#include "nn/compiler.h"
#include "rules/optimizer_rules.h"

namespace onecycle {

namespace {

TensorDesc struct_desc(std::size_t bytes) {
    return TensorDesc({static_cast<std::int64_t>(bytes)}, Layout::plain, DType::u8);
}

class Update {
  public:
    explicit Update(ProgramBuilder& builder)
        : builder_(builder),
          key_(builder.program.key),
          flat_{builder.layout.parameter_elements},
          half_(builder.layout.compute != DType::f32),
          last_micro_(key_.micro == key_.optimizer.accumulate - 1) {
        desc_.loss_scale = builder.layout.compute == DType::f16;
        desc_.optimizer = key_.optimizer;
        desc_.accumulation = key_.optimizer.accumulate;
        desc_.micro = key_.micro;
        desc_.rank = key_.rank;
        desc_.ranks = key_.ranks;
        desc_.parameters = builder.parameter_table();
        gradients_ = {builder.add_buffer("gradients", flat_, Space::gradients)};
        if (half_) gradients_.push_back(half_buffer("half_gradients", Space::half_gradients));
    }

    void add() {
        // With several ranks all_reduce has added up everything, in f32 (reduction.cpp).
        if (key_.ranks > 1)
            gradients_.resize(1);
        else if (key_.optimizer.accumulate > 1)
            add_up();
        if (!last_micro_) return op(OpKind::add_metrics, {builder_.results}, {builder_.control()});
        check_ = builder_.add_buffer("check", struct_desc(sizeof(GradientCheck)));
        op(OpKind::check_gradients, with_gradients({builder_.results, builder_.control()}), {check_});
        update_parameters();
        if (!builder_.layout.statistics.empty()) update_statistics();
        const int progress =
            builder_.add_buffer("progress", struct_desc(sizeof(StepProgress)), Space::progress);
        op(OpKind::commit_step, {builder_.results, check_}, {builder_.control(), progress});
    }

  private:
    void op(OpKind kind, const std::vector<int>& inputs, const std::vector<int>& outputs) {
        desc_.kind = kind;
        builder_.add_op(name_of(kind), Phase::update, desc_, inputs, outputs);
    }
    int half_buffer(const char* name, Space space) {
        TensorDesc half = flat_;
        half.type = builder_.layout.compute;
        return builder_.add_buffer(name, half, space);
    }
    std::vector<int> with_gradients(std::initializer_list<int> more) const {
        std::vector<int> inputs = gradients_;
        inputs.insert(inputs.end(), more);
        return inputs;
    }
    bool with_ema() const { return key_.optimizer.ema_decay > 0; }

    // Gradients and batch statistics over the micro batches of this rank.
    void add_up() {
        add_up(name_of(OpKind::accumulate_gradients), desc_, gradients_, "gradients", summed_gradients);
        gradients_.resize(1);  // the sum is f32
        if (builder_.statistics.empty()) return;
        const TensorDesc batch{builder_.layout.batch_statistics_elements};
        const std::string name = "batch statistics";
        const int values = builder_.add_buffer(name, batch, Space::batch_statistics);
        OpDesc whole = desc_;  // all of the buffer
        whole.parameters.clear();
        add_up("accumulate_statistics", whole, {values}, name, summed_statistics);
    }
    void add_up(const char* op, OpDesc desc, std::vector<int> values, const std::string& name,
                const SummedSpaces& spaces) {
        desc.kind = OpKind::accumulate_gradients;
        std::vector<int> outputs = builder_.sums(name, spaces, 0, builder_.desc(values[0]).elements());
        if (last_micro_) outputs.push_back(values[0]);
        if (builder_.groups_cross()) values.push_back(builder_.control());
        builder_.add_op(op, Phase::update, desc, values, outputs);
    }

    void update_parameters() {
        const bool second = has_second_moment(key_.optimizer.kind);
        std::vector<int> inputs = with_gradients({check_, builder_.control()});
        std::vector<int> outputs = {builder_.add_buffer("parameters", flat_, Space::parameters),
                                    builder_.add_buffer("moment1", flat_, Space::moment1)};
        if (second) outputs.push_back(builder_.add_buffer("moment2", flat_, Space::moment2));
        if (has_trust_ratio(key_.optimizer.kind)) {
            // Beside the gradients the weights, of LAMB the moments, too.
            std::vector<int> measured = inputs;
            measured.insert(measured.end(), outputs.begin(), outputs.begin() + (second ? 3 : 1));
            const int ratios = builder_.add_buffer("trust_ratios", {std::ssize(desc_.parameters)});
            op(OpKind::trust_ratio, measured, {ratios});
            inputs.push_back(ratios);
        }
        if (half_) outputs.push_back(half_buffer("half_parameters", Space::half_parameters));
        if (with_ema()) outputs.push_back(builder_.add_buffer("average", flat_, Space::ema));
        if (with_ema() && half_) outputs.push_back(half_buffer("half_average", Space::half_ema));
        op(OpKind::update_parameters, inputs, outputs);
    }

    void update_statistics() {
        std::vector<int> inputs = {check_};
        for (const auto& [layer, mean, variance] : builder_.statistics) {
            StatisticsSegment segment =
                builder_.layout.statistics[static_cast<std::size_t>(layer->statistics)];
            segment.samples = key_.batch * key_.ranks_of_batch_norm() * layer->shape[1] * layer->shape[2];
            desc_.statistics.push_back(segment);
            inputs.insert(inputs.end(), {mean, variance});
        }
        const TensorDesc running{builder_.layout.statistics_elements};
        std::vector<int> outputs = {builder_.add_buffer("statistics", running, Space::statistics)};
        if (with_ema())
            outputs.push_back(builder_.add_buffer("average statistics", running, Space::ema, flat_.bytes()));
        op(OpKind::update_statistics, inputs, outputs);
    }

    ProgramBuilder& builder_;
    const ProgramKey& key_;
    TensorDesc flat_;  // a flat buffer
    bool half_, last_micro_;
    OpDesc desc_;                 // what the ops share
    std::vector<int> gradients_;  // what the next op reads: f32, and 16 bits where they come so
    int check_ = -1;
};

}  // namespace

void add_update(ProgramBuilder& builder) {
    Update(builder).add();
}

}  // namespace onecycle
