// stb_image, only its PNG and (where libjpeg-turbo is absent) JPEG decoder, without stdio.
#pragma once

#include "data/codecs.h"

namespace onecycle {

// Decodes bytes that a probe has accepted to RGB. Reads through stb_image's callbacks, and refuses
// a file of which the decoder asks more than there is: its own answer would be a picture that is
// grey from there.
Image decode_with_stb(Bytes bytes);

}  // namespace onecycle
