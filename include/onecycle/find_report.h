// What a range test is shown and stored as: CSV, JSON, one sentence, a plot for the terminal, an SVG. All
// return text and write nothing; equal input gives equal bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "onecycle/range_test.h"
#include "onecycle/range_test_analysis.h"

namespace onecycle {

struct LossCurve {
    std::vector<double> lr, loss;  // a loss may be nan or infinite
};

// A saved curve: a header row with the columns `lr` and `loss` in any order (others are ignored), then a row
// a point; an empty loss counts as nan. Throws Error(io) when the file is not there, Error(data) naming the
// line when it is malformed or its rates are not above 0 and rising.
LossCurve read_curve_csv(const std::string& path);
LossCurve parse_curve_csv(std::string_view text, const std::string& where);

// find.csv: `lr,loss,smoothed`.
std::string find_csv(const RangeTestAnalysis& analysis);

// find.json; what is not a finite number is null. The form without a test is for `find --from-csv`: what only
// a run knows (stopped, digests, seconds) is null there.
std::string find_json(const RangeTestResult& test);
std::string find_json(const RangeTestAnalysis& analysis);

// One sentence for a beginner: the rate to use, the range, and why not the lowest point; a second one where
// `auto` trains with a higher rate. Or why there is none.
std::string find_sentence(const RangeTestAnalysis& analysis);

// The curve in Unicode, without colour: lines of at most `width` columns (40 or more), each with its line
// end.
std::string find_plot(const RangeTestAnalysis& analysis, int width = 80);

// The same as a picture, light or dark as the viewer prefers.
std::string find_svg(const RangeTestAnalysis& analysis,
                     const std::string& title = "Learning-rate range test");

// What a sweep shows, by Smith's advice (arXiv 1803.09820): the largest weight decay that still allows a high
// rate; for momentum and batch size the value whose curve falls lowest among those that do. Curves whose
// smoothed losses differ by less than the noise count as equal.
struct SweepVerdict {
    bool visible_difference = false;  // between any two curves
    std::vector<bool> like_first;     // a curve: not to be told from the first
    int best = -1;                    // index of the advised value; -1: no advice
    std::string advice;               // one sentence
};
SweepVerdict judge_sweep(SweepParameter parameter, const std::vector<SweepResult>& results);

// The table with a row a value, then the advice.
std::string sweep_table(SweepParameter parameter, const std::vector<SweepResult>& results);

// {"parameter", "curves": [{"value", and what find.json has}], "advice", "best"}.
std::string sweep_json(SweepParameter parameter, const std::vector<SweepResult>& results);

// The smoothed curves over each other, each with its own mark.
std::string sweep_plot(SweepParameter parameter, const std::vector<SweepResult>& results, int width = 80);
std::string sweep_svg(SweepParameter parameter, const std::vector<SweepResult>& results);

}  // namespace onecycle
