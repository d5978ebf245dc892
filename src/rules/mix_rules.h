// How the samples of a batch are mixed: one rule for all back ends, compiled for host and device.
//
// Sample i of n is mixed with sample n - 1 - i, as timm does ("elem"), so that whoever holds a
// pixel of both can write both in place; batches are shuffled, so any fixed pairing is a random
// one. The middle one of an odd batch stays as it is. Each sample has draws of its own:
//   mixup (Zhang et al. 2018): x_i = lambda x_i + (1 - lambda) x_j, lambda ~ Beta(alpha, alpha), folded as fastai folds
//     it: the larger part is the sample's own, so that the two of a pair do not become the same image twice;
//   cutmix (Yun et al. 2019): a box of x_j, its share of the area 1 - lambda, at the same place in x_i; its centre is
//     uniform, what lies outside is cut off, and lambda becomes the share that is left (torchvision's CutMix).
// With both, each sample takes one of the two, with equal chances.
#pragma once

#include <cmath>
#include <cstdint>

#include "rules/folded_beta.h"
#include "rules/host_device.h"
#include "rules/rng.h"
#include "rules/step_rules.h"
#include "rules/view.h"

namespace onecycle {

// What was drawn for one sample.
struct MixDraw {
    float weight;   // lambda: of the sample's own label
    bool cut;       // cutmix
    Rectangle box;  // then what comes from the other sample

    // A value of the mixed image.
    ONECYCLE_HD float mixed(float own, float other, bool in_box) const {
        if (cut) return in_box ? other : own;
        return mul_rn(weight, own) + mul_rn(1 - weight, other);
    }
};

// What of an operation decides the draws, in numbers that a kernel takes.
struct MixRule {
    std::uint64_t seed;
    bool mixup, cutmix;  // at least one
    FoldedBeta mixup_lambda, cutmix_lambda;

    MixRule(double mixup_alpha, double cutmix_alpha, std::uint64_t seed_)
        : seed(seed_),
          mixup(mixup_alpha > 0),
          cutmix(cutmix_alpha > 0),
          mixup_lambda(mixup ? folded_beta(mixup_alpha) : FoldedBeta{}),
          cutmix_lambda(cutmix ? folded_beta(cutmix_alpha) : FoldedBeta{}) {}

    // For the sample at `place` of the batch that is due, of height x width pixels.
    ONECYCLE_HD MixDraw draw(const StepControl& control, int place, int height, int width) const {
        const PhiloxBlock random =
            RandomStream(seed, RandomPurpose::mix, static_cast<std::uint32_t>(control.update),
                         static_cast<std::uint32_t>(place) | static_cast<std::uint64_t>(global_micro(control))
                                                                 << 32)
                .block(0);
        const std::uint32_t choice = random.word[1];
        if (mixup && !(cutmix && choice >> 31))
            return {static_cast<float>(mixup_lambda(random.word[0])), false, {0, 0, 0, 0}};
        const double larger = cutmix_lambda(random.word[0]);
        const double half = sqrt(choice & 1 ? larger : 1 - larger) / 2;  // of a side
        const auto side = [half](std::uint32_t word, int size, std::int32_t& begin) {
            const int extent = static_cast<int>(mul_rn(half, static_cast<double>(size)));
            const int centre =
                static_cast<int>((std::uint64_t{word} * static_cast<std::uint32_t>(size)) >> 32);
            begin = centre < extent ? 0 : centre - extent;
            const int end = centre + extent < size ? centre + extent : size;
            return end - begin;
        };
        MixDraw draw{1, true, {0, 0, 0, 0}};
        draw.box.width = side(random.word[2], width, draw.box.x);
        draw.box.height = side(random.word[3], height, draw.box.y);
        const double pixels = static_cast<double>(width) * height,
                     area = static_cast<double>(draw.box.width) * draw.box.height;
        draw.weight = static_cast<float>(1 - area / pixels);
        return draw;
    }
};

}  // namespace onecycle
