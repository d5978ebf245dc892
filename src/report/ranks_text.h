// A forecast of data-parallel training as tables for people.
#pragma once

#include <string>

#include "train/ranks_forecast.h"

namespace onecycle {

std::string ranks_text(const Profile& profile, const ScaleForecast& forecast);

}  // namespace onecycle
