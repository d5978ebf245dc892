// Ten steps on the ranks of a job, whose batch norms see the batches of all, against PyTorch in double
// precision (tests/reference/generate_training.py): losses, weights, running statistics.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "device/communicator.h"
#include "nn/expect_change.h"
#include "nn/training.h"

namespace onecycle::testing {

namespace {

std::shared_ptr<Communicator> job;

// Of `all`, which belongs to the images of all ranks, what belongs to this rank's.
template <typename T>
const T* own_part(const std::vector<T>& all, const RankPlace& place) {
    return all.data() +
           all.size() / static_cast<std::size_t>(place.ranks) * static_cast<std::size_t>(place.rank);
}

TEST(SynchronizedSteps, are_those_of_pytorch) {
    const RankPlace place = place_in(*job);
    const std::string variant = place.ranks == 3 ? "synchronized" : "sgd";
    std::ifstream file(reference_data("training_" + variant + ".json"));
    const nlohmann::json reference = nlohmann::json::parse(file);
    const int images = reference.at("batch");
    ASSERT_EQ(images % place.ranks, 0);

    ProgramKey key = training_key(images / place.ranks);
    key.mean = reference::mean;
    key.stddev = reference::stddev;
    key.optimizer.weight_decay = reference.at("options").at("weight_decay");
    key.rank = place.rank;
    key.ranks = place.ranks;
    key.sync_batch_norm = true;
    Session session({.arch = "resnet18", .classes = reference.at("classes"), .size = reference.at("size")},
                    key, {make_cpu_device(1), make_cpu_backend(1, job.get())});
    session.state.initialise(0);
    session.set_formula_weights(reference.at("norm_bias"));
    const std::map<std::string, HostTensor> before = session.state.weights();

    const std::vector<double> lr = reference.at("lr"), momentum = reference.at("momentum"),
                              loss = reference.at("loss"), tolerance = reference.at("loss_tolerance");
    for (std::size_t step = 0; step < loss.size(); ++step) {
        StepControl control = session.state.read_control();
        control.schedule = constant_schedule(lr[step], momentum[step]);
        session.state.write_control(control);
        const std::string number = "." + std::to_string(step);
        const auto pixels =
            reference::images(reference.at("images").get<std::string>() + number,
                              static_cast<std::size_t>(images), static_cast<std::size_t>(session.size));
        const auto labels =
            reference::labels(reference.at("labels").get<std::string>() + number,
                              static_cast<std::size_t>(images), static_cast<std::uint32_t>(session.classes));
        session.runnable.set_batch(own_part(pixels, place), own_part(labels, place), key.batch);
        session.runnable.launch();
        ASSERT_EQ(session.state.read_control().update, static_cast<std::int64_t>(step) + 1);
        EXPECT_NEAR(session.state.ring_entry(static_cast<std::int64_t>(step)).loss, loss[step],
                    tolerance[step])
            << "step " << step;
    }
    expect_change(reference.at("change"), before, session.state.weights());
}

}  // namespace

int run_tests() {
    job = join_ranks();
    if (!job) return 2;  // mpirun starts it
    const int result = RUN_ALL_TESTS();
    finish(*job);
    return result;
}

}  // namespace onecycle::testing

int main(int argc, char** argv) {
    ::testing::InitGoogleTest(&argc, argv);
    return onecycle::testing::run_tests();
}
