"""Parts of the code that scripts/exercise takes out for you to write: by name, the edits that take one out.

As in seeded_bugs_list.py: the text as it is (`old`), what stands there instead (`new`), and the tests that judge.
"""

PARTS = {}


def part(name, what, tests, *edits):
    PARTS[name] = [dict(name=name, what=what, tests=tests, file=file, old=old, new=new) for file, old, new in edits]


part("split", "a keyed permutation of each class, its first positions held out",
     [("test_dataset", "Dataset.*")],
     ("src/data/dataset.cpp", """\
        std::vector<bool> in_valid(n, false);
        for (std::uint64_t k = 0; k < held_out; ++k)
            in_valid[permuted_index(k, n, options.seed, RandomPurpose::split,
                                    static_cast<std::uint32_t>(c))] = true;
        for (std::uint64_t k = 0; k < n; ++k)
            (in_valid[k] ? valid : train).push_back(std::move(dataset.train[first + k]));
""", """\
        // Yours. `held_out` of the n samples from dataset.train[first] on go to `valid`, the others
        // to `train`, both in the order in which they come. Which ones: those that
        // permuted_index() gives for the positions below held_out, of this seed, purpose
        // RandomPurpose::split and `c` as the epoch.
"""))

part("reduced_decoding", "the smallest of a half, a quarter and an eighth that keeps the short side",
     [("test_image", "Decode.*")],
     ("src/data/jpeg_turbo.cpp", """\
    if (min_short_side > 0)
        for (const int smaller : {2, 4, 8}) {
            const int w = (probe.width + smaller - 1) / smaller, h = (probe.height + smaller - 1) / smaller;
            if (w >= min_short_side && h >= min_short_side) denominator = smaller, width = w, height = h;
        }
""", """\
    // Yours. Where nobody needs more than min_short_side pixels (0: all are needed), libjpeg can
    // decode at 1/2, 1/4 or 1/8 of width and height, rounded up, in much less time.
"""))

part("way_around", "a convolution of 1x1 and its norm where the shape changes",
     [("test_nn_networks", "*of_pytorch:*names_shapes*")],
     ("src/nn/architectures/residual_blocks.cpp", """\
    if (stride != 1 || net.layers()[static_cast<std::size_t>(x)].shape[0] != out_channels) {
        identity = net.conv2d(name + ".downsample.0", x, out_channels, 1, stride, 0);
        identity = net.batch_norm(name + ".downsample.1", identity);
    }
""", """\
    // Yours. Where `y` has another shape than `x`, `identity` is a convolution of its own: 1x1, of
    // this stride, with a norm. torchvision calls the two NAME.downsample.0 and NAME.downsample.1.
"""))

part("update_kernel", "four weights a thread: load, update_element, store",
     [("test_cuda_update", "*UpdateParameters*")],
     ("kernels/optimizer.cu", """\
        const Quad<float> g = load_gradient(segment, gradients, half_gradients, quad.at);
        Quad<float> w = load_quad(parameters + quad.at), m = load_quad(moment1 + quad.at), v{};
        if constexpr (has_second_moment(rule)) v = load_quad(moment2 + quad.at);
#pragma unroll
        for (int k = 0; k < 4; ++k) update_element<rule>(s, p, g.v[k], w.v[k], m.v[k], v.v[k]);
        store_quad(parameters + quad.at, w, quad.valid);
        store_quad(moment1 + quad.at, m, quad.valid);
        if constexpr (has_second_moment(rule)) store_quad(moment2 + quad.at, v, quad.valid);
""", """\
        Quad<float> w = load_quad(parameters + quad.at);
        // Yours. Load what update_element of rules/optimizer_rules.h asks for, call it for each of
        // the four, and store what has changed: weights, first moment and, if any, the second.
"""))

part("flat_cos", "two segments, and a row that names them",
     [("test_schedule", "Schedule.*")],
     ("src/schedule/presets.cpp", """\
Schedule flat_cos(std::int64_t steps, double max, double floor, double pct_start, double momentum) {
    const double end = static_cast<double>(steps);
    ScheduleBuilder builder(steps);
    builder.add(0, pct_start * end, Curve::linear, max, max, momentum);
    builder.add(pct_start * end, end, Curve::cosine, max, floor, momentum);
    return builder.finish(max, momentum);
}

""", """\
// Yours: `max` for pct_start of all steps, then a cosine to `floor`; fastai's fit_flat_cos.
// presets.h declares it. The row of the policy goes into `policies` in policy.cpp.

"""),
     ("src/schedule/policy.cpp", """\
    {"flat-cos",
     {0.75, {}, 1e5},
     false,
     nullptr,
     nullptr,
     [](const Request& r) {
         return flat_cos(r.steps(), r.max_lr, r.max_lr / *r.policy.final_div, *r.policy.pct_start,
                         r.momentum());
     }},
""", ""))

part("atomic_file", "sync, close, rename, sync the directory: in this order",
     [("test_file", "AtomicWrite.*")],
     ("src/core/file.cpp", """\
    check(retried([&] { return fs_.sync(file_); }));
    // An interrupted close has closed the file, and its bytes are on the disk by now.
    const int closed = fs_.close(std::exchange(file_, -1));
    check(closed == -EINTR ? 0 : closed);
    check(retried([&] { return fs_.rename(temporary_, path_); }));
    there_ = false;
    check(retried([&] { return fs_.sync_directory(parent_directory(path_)); }));
""", """\
    // Yours. The bytes are in temporary_, which file_ has open. Let them become path_ so that a
    // power loss at any moment leaves the old file or the new one, whole; forget nothing that may
    // fail, and leave there_ false once temporary_ is gone.
    check(retried([&] { return fs_.rename(temporary_, path_); }));
"""))
