// Policies: the schedules a user can ask for by name, with each library's defaults.
//
//   name               what it is                                                pct_start   div  final_div
//   onecycle           cosine up and down, momentum mirrored; position k/(N-1),       0.25    25  1e4
//                      so that the last update uses max / div / final_div
//   onecycle:fastai    fastai 2's fit_one_cycle; position k/N, floor max / final_div  0.25    25  1e5
//   onecycle:pytorch   torch.optim.lr_scheduler.OneCycleLR, also three-phase           0.3    25  1e4
//   onecycle:smith     the form in Leslie Smith's own logs (hyperParam1): linear up    0.45   10  1e3
//                      for pct_start, linear down to 0 for as long, then held at
//                      max / div / final_div
//   flat-cos           fastai's fit_flat_cos: flat, then cosine to max / final_div     0.75    -  1e5
//   cosine             max (1 + cos(pi k/N)) / 2
//   linear             max (1 - k/N)
//   constant           max
//   steps:E,E,..@F     times F (default 0.1) at each epoch E:      steps:30,60,90@0.1
//   restarts:LEN,MULT  cosine from max to 0 in LEN epochs, then    restarts:1,2
//                      again, each time MULT (default 1) as long
//   knots:E=V,E=V,..   straight lines between max V at epoch E     knots:0=0,5=1,24=0
//
// k = 0..N-1 is the update's number, N all updates. Epochs in steps, restarts and knots may be
// fractional. Momentum (beta1 for Adam) runs high -> low -> high with the one-cycle policies; every
// other holds `high`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "onecycle/schedule.h"

namespace onecycle {

struct MomentumRange {
    double low;
    double high;
};

enum class Anneal { cosine, linear };

// The shape of a schedule. Every member left empty takes the policy's own default; one that the
// policy does not know is refused.
struct PolicyOptions {
    std::string policy = "onecycle";             // --policy
    std::optional<MomentumRange> momentum = {};  // --momentum; 0.85:0.95 for one-cycle, else 0.9
    // --pct-start, 0 to 1: the share before the descent.
    std::optional<double> pct_start = {};
    std::optional<double> div = {};  // --div, above 0: first rate = max / div
    // --final-div, above 0: relative to what, the table says.
    std::optional<double> final_div = {};
    std::optional<Anneal> anneal = {};  // --anneal: onecycle and onecycle:pytorch
    bool three_phase = false;           // --three-phase: onecycle:pytorch
};

struct ScheduleLength {
    std::int64_t epochs = 1;           // --epochs, 1 or more
    std::int64_t steps_per_epoch = 1;  // updates an epoch, 1 or more
};

// Names all policies, as --help and refusals do: "onecycle, …, restarts:… or knots:EPOCH=VALUE,..".
std::string policy_names();

// The same with the policy's own numbers where none were given. Those that it does not take stay as
// they were. Throws Error(usage) for an unknown policy or a momentum out of range.
PolicyOptions with_defaults(const PolicyOptions& policy);

// The schedule of this shape and length up to `max_lr`, which is above 0. Throws Error(usage)
// naming the option, the value and the allowed form.
Schedule make_schedule(const PolicyOptions& policy, const ScheduleLength& length, double max_lr);

// Refuses what make_schedule() refuses for so many epochs, before the steps of one are known.
// `max_lr` may be empty: not known yet.
void check_policy(const PolicyOptions& policy, std::int64_t epochs, std::optional<double> max_lr);

// The momentum given, or the policy's own. Throws Error(usage), as with_defaults().
MomentumRange momentum_range(const PolicyOptions& policy);

// Where the policy's momentum stands while the rate is highest: `low` of one-cycle, `high` of the
// others. The range test runs at it. Throws as momentum_range().
double momentum_at_peak(const PolicyOptions& policy);

// "LOW:HIGH" or one number that stays; 0 <= LOW <= HIGH < 1. Throws Error(usage).
MomentumRange parse_momentum(const std::string& text);

// "cos" or "linear". Throws Error(usage).
Anneal parse_anneal(const std::string& text);

// The rates of a range test, k = 0..steps-1.
enum class Ramp {
    inclusive,  // start (end/start)^(k/(steps-1)): the last step uses `end`
    fastai,     // start (end/start)^(k/steps): stops one step short of it, as fastai does
};

struct RampOptions {
    double start_lr = 1e-7;    // --start-lr, above 0
    double end_lr = 10;        // --end-lr, above start_lr
    std::int64_t steps = 100;  // --steps, 2 or more
    Ramp ramp = Ramp::inclusive;
    double momentum = 0.85;  // stays, see momentum_at_peak
};

// Throws Error(usage).
Schedule make_range_test_schedule(const RampOptions& options);

// "inclusive" or "fastai". Throws Error(usage).
Ramp parse_ramp(const std::string& text);

// `step,lr,momentum` with a header row and a row an update, in the shortest digits that read back
// equal.
std::string plan_csv(const Schedule& schedule);

}  // namespace onecycle
