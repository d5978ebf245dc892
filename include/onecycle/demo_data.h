// A small image folder that is a fair test: classes are shapes and textures under random colours,
// scale, position, light and noise, slightly turned, so that neither the mean colour nor a linear
// classifier on the pixels tells them apart, and a convolutional network does.
//
// Measured on the default folder, 200 of its 1000 images held out, where chance is 20 %: ResNet34
// at 64 px, batches of 16, 6 epochs, gets 93.5 % at a rate of 0.005 and 62 % at the rate that a
// range test finds on so few images. A linear classifier on the pixels stays below 35 %, while it
// knows more than 60 % of the others by heart (a test).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace onecycle {

struct DemoOptions {
    int classes = 5;             // 2 .. demo_class_limit()
    int images_per_class = 200;  // at least 2
    int size = 80;               // pixels; images vary around it and are not square
    std::uint64_t seed = 0;
    std::function<int()> stop{};  // asked before each image; a signal's number ends the work
};

int demo_class_limit();

// Writes DIR/<class>/NNNN.jpg and .png. The folder is made if it is not there; one that holds files
// is refused (Error(io)). Returns the number of images. The classes appear when all images are
// written; an error or a stop (Interrupted) leaves nothing. After a kill a hidden folder stays,
// with which the same call goes on.
std::int64_t make_demo_data(const std::string& dir, const DemoOptions& options = {});

}  // namespace onecycle
