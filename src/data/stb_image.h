// stb_image where libjpeg-turbo is absent: only its JPEG decoder, without stdio.
#pragma once

#include "data/codecs.h"

namespace onecycle {

// Decodes bytes that a probe has accepted to RGB. Reads through stb_image's callbacks, and refuses
// a file of which the decoder asks more than there is: its own answer would be a picture that is
// grey from there.
Image decode_with_stb(Bytes bytes);

// Its name and version.
std::string stb_decoder();

}  // namespace onecycle
