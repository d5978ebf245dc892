#include "onecycle/schedule.h"

#include "rules/schedule_value.h"

namespace onecycle {

ScheduleValue evaluate(const Schedule& schedule, std::int64_t step) {
    return schedule_value(schedule, step);
}

}  // namespace onecycle
