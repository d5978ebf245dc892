// Promises of confusion counts, on every back end.
#include <numeric>

#include "ops/update_step.h"

namespace onecycle::testing {
namespace {

// What a plain loop counts, added to `counts`: the first of the largest logits is the answer.
void count(std::vector<std::int32_t>& counts, const std::vector<float>& logits,
           const std::vector<std::int32_t>& labels, std::int32_t rows) {
    const std::size_t classes = logits.size() / labels.size();
    for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
        std::size_t answer = 0;
        for (std::size_t c = 1; c < classes; ++c)
            if (logits[i * classes + c] > logits[i * classes + answer]) answer = c;
        ++counts[static_cast<std::size_t>(labels[i]) * classes + answer];
    }
}

void expect_counted(std::vector<float> logits, std::vector<std::int32_t> labels, std::int32_t rows) {
    const auto n = static_cast<std::int64_t>(labels.size()),
               classes = static_cast<std::int64_t>(logits.size()) / n;
    SCOPED_TRACE(std::to_string(n) + " rows of " + std::to_string(classes));
    const OpDesc desc{.kind = OpKind::confusion,
                      .inputs = {{n, classes},
                                 TensorDesc({n}, Layout::plain, DType::i32),
                                 TensorDesc({1}, Layout::plain, DType::i32)},
                      .outputs = {TensorDesc({classes, classes}, Layout::plain, DType::i32)}};
    std::vector<std::int32_t> counts(static_cast<std::size_t>(classes * classes));
    std::iota(counts.begin(), counts.end(), 5);  // of the batches before
    std::vector<std::int32_t> expected = counts;
    count(expected, logits, labels, rows);
    EXPECT_TRUE(
        run_in_place(desc, {logits.data(), labels.data(), &rows}, {counts.data()}, *machine_under_test()));
    EXPECT_EQ(counts, expected);
}

std::vector<std::int32_t> some_labels(std::size_t n, std::size_t classes) {
    std::vector<std::int32_t> labels(n);
    for (std::size_t i = 0; i < n; ++i) labels[i] = static_cast<std::int32_t>((i * 7 + 1) % classes);
    return labels;
}

// Logits are small whole numbers: many are equal.
TEST(Confusion, adds_each_answer_to_its_count_and_of_equal_logits_the_first_answers) {
    for (const auto& [n, classes] : {std::pair<std::size_t, std::size_t>{1, 1},
                                     {3, 2},
                                     {100, 2},
                                     {7, 31},
                                     {9, 33},
                                     {17, 100},
                                     {5, 1000}}) {
        RandomStream random(classes, RandomPurpose::augment, 0, n);
        std::vector<float> logits(n * classes);
        for (float& x : logits) x = static_cast<float>(random.below(classes < 50 ? 3 : 40)) - 1;
        const std::vector<std::int32_t> labels = some_labels(n, classes);
        for (const std::size_t rows : {n, n / 2})
            expect_counted(logits, labels, static_cast<std::int32_t>(rows));
    }
}

TEST(Confusion, has_an_answer_for_logits_that_are_no_numbers) {
    constexpr float nan = std::numeric_limits<float>::quiet_NaN(),
                    infinity = std::numeric_limits<float>::infinity();
    constexpr std::size_t classes = 40;
    std::vector<float> logits;
    const auto row = [&](std::initializer_list<std::pair<std::size_t, float>> values, float others) {
        std::vector<float> x(classes, others);
        for (const auto& [at, value] : values) x[at] = value;
        logits.insert(logits.end(), x.begin(), x.end());
    };
    row({{0, nan}, {39, infinity}}, 0);
    row({{3, nan}, {35, 2}}, 1);
    row({{0, -infinity}}, nan);
    row({}, nan);
    row({}, -infinity);
    row({{38, infinity}, {37, infinity}}, nan);
    row({{0, -infinity}, {33, -1}}, -infinity);
    expect_counted(logits, some_labels(7, classes), 7);
}

TEST(Confusion, refuses_operands_that_do_not_fit) {
    const TensorDesc logits{4, 3}, labels({4}, Layout::plain, DType::i32),
        one({1}, Layout::plain, DType::i32), counts({3, 3}, Layout::plain, DType::i32);
    const auto expect_refused = [](std::vector<TensorDesc> inputs, const TensorDesc& output) {
        const OpDesc desc{.kind = OpKind::confusion, .inputs = std::move(inputs), .outputs = {output}};
        EXPECT_ANY_THROW(machine_under_test()->backend->make(desc));
    };
    expect_refused({logits, labels}, counts);
    expect_refused({logits, one, one}, counts);
    expect_refused({logits, labels, one}, TensorDesc({4, 3}, Layout::plain, DType::i32));
    expect_refused({logits, labels, one}, {3, 3});
}

}  // namespace
}  // namespace onecycle::testing
