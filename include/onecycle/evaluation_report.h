// An evaluation as text and as a picture.
#pragma once

#include <string>

#include "onecycle/evaluation.h"

namespace onecycle {

// Lines for a terminal of `width` columns (0: no limit): the figures (top-5 of more than five
// classes), a table of the classes, the confusion matrix (up to 20 classes, where it fits), the
// pairs of classes that are most often confused, the images with the highest losses where they were
// asked for.
std::string evaluation_text(const Evaluation& evaluation, int width = 0);

// The confusion matrix as a heat map: each row is one true class, shades are shares of the row.
// Names up to 50 classes, counts where they fit; every field's pair and count is its tooltip.
std::string confusion_svg(const Evaluation& evaluation, const std::string& title = "Confusion matrix");

}  // namespace onecycle
