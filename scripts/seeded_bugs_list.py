"""The bugs that scripts/seeded_bugs puts into the code: each one edit of the kind that is made by mistake.

A bug's tests: binaries and the tests in them to run, then, where it is given, those for the slow builds.
"""

NORM = [("test_cuda_batch_norm", "*agrees_with_the_reference*:*whatever*:*however*")]
NORM_BACKWARD = [("test_cuda_batch_norm_backward", "*")]
POOL = [("test_cuda_pool", "*")]
HEAD = [("test_cuda_head", "*")]
LOSS = [("test_cuda_loss", "*")]
UPDATE = [("test_cuda_update", "*")]
LINEAR = [("test_cuda_linear", "*")]
CONVOLUTION = [("test_cuda_convolution", "*direct*")]
INPUT = [("test_cuda_input", "*")]
ELEMENTWISE = [("test_cuda_elementwise", "*")]
AUGMENT = [("test_cuda_augment", "*crops*:*every_type*:*follow*")]
MIX = [("test_cuda_mix", "MixBatch*")]
CONFUSION = [("test_cuda_update", "Confusion.*")]
OPTIMIZER = [("test_cuda_update", "*UpdateParameters*:*equal_bits*")]
SCHEDULE = [("test_cuda_update", "*one_cycle*")]
COMMIT = [("test_cuda_update", "*CommitStep*")]
NORM_POOL = [("test_cuda_batch_norm", "*with_a_pool*"), ("test_cuda_batch_norm_backward", "*with_a_pool*")]
SIDE_COPY = [("test_nn_emulated", "*copy_of_the_state*")]
STEP = [("test_nn_emulated", "*f32_steps*:*any_order*", "*f32_steps*")]

BUGS = []


def bug(name, file, tests, expected, what, old, new):
    BUGS.append(dict(name=name, file=file, tests=tests, expected=expected, what=what, old=old, new=new))


# --- barriers ---
bug("block_sum_reuse", "kernels/cuda.h", LOSS, "race", "a barrier removed before shared memory is used again",
    "    value = warp_sum(value);\n    __syncthreads();  // the call before may still be read\n",
    "    value = warp_sum(value);\n")
bug("block_max_result", "kernels/loss.cu", LOSS, "race", "a barrier removed between writing and reading",
    "    if (lane == 0) partial[warp] = value;\n    __syncthreads();\n    return warp_max",
    "    if (lane == 0) partial[warp] = value;\n    return warp_max")
bug("block_sum_result", "kernels/cuda.h", LOSS, "race", "a barrier removed between writing and reading",
    "    if (lane == 0) partial[warp] = value;\n    __syncthreads();\n    return warp_sum",
    "    if (lane == 0) partial[warp] = value;\n    return warp_sum")
bug("tile_sums_reuse", "kernels/channel_tiles.h", NORM, "race", "a barrier removed before shared memory is used again",
    "        at = shared;\n        __syncthreads();  // the tile before may still be read\n", "        at = shared;\n")
bug("tile_sums_result", "kernels/channel_tiles.h", POOL, "race", "a barrier removed between writing and reading",
    "        __syncthreads();\n        lane = static_cast<int>(threadIdx.x) % lanes;",
    "        lane = static_cast<int>(threadIdx.x) % lanes;")
bug("channel_values_result", "kernels/channel_tiles.h", NORM, "race", "a barrier removed between writing and reading",
    "    __syncthreads();\n    const bool inside", "    const bool inside")
bug("bias_gradient_barrier", "kernels/linear.cu", LINEAR, "race", "a barrier removed between writing and reading",
    "    partial[threadIdx.x] = sum;\n    __syncthreads();\n    if (slice != 0 || column >= o) return;",
    "    partial[threadIdx.x] = sum;\n    if (slice != 0 || column >= o) return;")
bug("concat_pool_barrier", "kernels/concat_pool.cu", HEAD, "race", "a barrier removed between writing and reading",
    "        __syncthreads();\n        if (inside && line == 0) {\n            const unsigned used",
    "        if (inside && line == 0) {\n            const unsigned used")
bug("weights_gradient_reuse", "kernels/conv2d_direct.cu", CONVOLUTION, "race",
    "a barrier removed before shared memory is used again",
    "        __syncthreads();  // the sums of the block before may still be read\n", "")
bug("schedule_barrier", "kernels/schedule.h", UPDATE, "race", "a barrier removed between writing and reading",
    "    __syncthreads();\n    return value[0];", "    return value[0];")
bug("grid_barrier", "kernels/batch_norm_passes.h", NORM, "race", "the barrier of a grid made one of the block",
    "    reduce_tiles(pass);\n    sync_grid();\n", "    reduce_tiles(pass);\n    __syncthreads();\n")
bug("barrier_in_a_branch", "kernels/linear.cu", LINEAR, "barrier", "a barrier that some threads do not reach",
    "    partial[threadIdx.x] = sum;\n    __syncthreads();\n    if (slice != 0 || column >= o) return;",
    "    partial[threadIdx.x] = sum;\n    if (column >= o) return;\n    __syncthreads();\n    if (slice != 0) return;")
bug("early_return_before_shuffle", "kernels/batch_norm_passes.h", NORM, "barrier",
    "lanes that leave before a shuffle of the whole warp",
    "    const float n = static_cast<float>(place.count > 0 ? place.count : 1);\n",
    "    if (place.count == 0 && place.line > 0) return;\n"
    "    const float n = static_cast<float>(place.count > 0 ? place.count : 1);\n")

bug("concat_pool_reuse", "kernels/concat_pool.cu", HEAD, "race", "a barrier removed before shared memory is used again",
    "        __syncthreads();  // the next tile writes the same places\n", "")
bug("schedule_loaded", "kernels/schedule.h", SCHEDULE, "race", "a barrier removed between writing and reading",
    "    __syncthreads();\n    if (threadIdx.x == 0) {\n        const ScheduleValue now",
    "    if (threadIdx.x == 0) {\n        const ScheduleValue now")
bug("optimizer_scalars", "kernels/optimizer.cu", OPTIMIZER, "race", "a barrier removed between writing and reading",
    "    __syncthreads();\n    const UpdateScalars s = shared_scalars[0];", "    const StepScalars s = step_scalars[0];")
bug("augment_drawn", "kernels/augment.cu", AUGMENT, "race", "a barrier removed between writing and reading",
    "    __syncthreads();\n    const ResidentImage image = shared_image[0];", "    const ResidentImage image = shared_image[0];")
bug("augment_filter", "kernels/augment.cu", AUGMENT, "race", "a barrier removed between writing and reading",
    "    __syncthreads();\n    const Taps* const row_ranges", "    const Taps* const row_ranges")
bug("augment_between", "kernels/augment.cu", AUGMENT, "race", "a barrier removed between two passes of a filter",
    "    __syncthreads();\n\n    for (int i = t; i < rows * tile_columns", "    for (int i = t; i < rows * tile_columns")

bug("mix_drawn", "kernels/mix.cu", MIX, "race", "a barrier removed between writing and reading",
    "    __syncthreads();\n    const MixDraw first", "    const MixDraw first")

# --- atomics, and one writer ---
bug("atomic_made_plain", "kernels/gradients.cu", UPDATE, "race", "an atomic made plain",
    "            atomicMin(&first_bad[0], table.segment[segment_of(table, piece)].parameter);",
    "            first_bad[0] = first_bad[0] < table.segment[segment_of(table, piece)].parameter\n"
    "                               ? first_bad[0]\n"
    "                               : table.segment[segment_of(table, piece)].parameter;")
bug("first_bad_barrier", "kernels/gradients.cu", UPDATE, "race", "a barrier removed before atomics",
    "    if (threadIdx.x == 0) first_bad[0] = none;\n    __syncthreads();\n",
    "    if (threadIdx.x == 0) first_bad[0] = none;\n")
bug("all_threads_write", "kernels/gradients.cu", UPDATE, "race", "a result that every thread writes",
    "    if (threadIdx.x == 0) sums[piece] = sum;", "    sums[piece] = sum;")
bug("all_lanes_write", "kernels/batch_norm_passes.h", NORM, "race", "a result that every lane writes",
    "        if (lane != 0) return;\n        (tensor == 0 ? mean[0]", "        (tensor == 0 ? mean[0]")

bug("augment_luma_atomic", "kernels/augment.cu", AUGMENT, "race", "an atomic made plain",
    "atomicAdd(&work.luma_sum[n], sum);", "work.luma_sum[n] += sum;")
bug("confusion_atomic", "kernels/confusion.cu", CONFUSION, "race", "an atomic made plain",
    "atomicAdd(&counts[labels[row] * classes + answer], 1);", "counts[labels[row] * classes + answer] += 1;")
bug("commit_by_all", "kernels/commit.cu", COMMIT, "race", "a step that every thread commits",
    "    if (threadIdx.x == 0)\n        commit(", "    commit(")

# --- strides and sizes ---
bug("grid_stride", "kernels/linear.cu", LINEAR, "race", "a stride of the block instead of the grid",
    "    const std::int64_t stride = std::int64_t{gridDim.x} * threads;\n"
    "    for (std::int64_t i = std::int64_t{blockIdx.x} * threads + threadIdx.x; i < elements; i += stride)",
    "    const std::int64_t stride = threads;\n"
    "    for (std::int64_t i = std::int64_t{blockIdx.x} * threads + threadIdx.x; i < elements; i += stride)")
bug("row_stride", "kernels/loss.cu", LOSS, "undeclared", "a row's stride one too large",
    "    const float* const x = logits + row * classes;", "    const float* const x = logits + row * (classes + 1);")
bug("channel_stride", "kernels/statistics.cu", UPDATE, "race", "a stride one too small",
    "    for (int c = threadIdx.x; c < norm.channels; c += threads) {",
    "    for (int c = threadIdx.x; c < norm.channels; c += threads - 1) {")
bug("shared_stride", "kernels/channel_tiles.h", POOL, "no value", "shared memory written with one stride, read with another",
    "at[q * room + place.line * stride + place.column + k] = sums[q][k];",
    "at[q * room + place.line * columns + place.column + k] = sums[q][k];")
bug("workspace_too_small", "kernels/batch_norm_passes.h", NORM, "undeclared", "half of the workspace asked for",
    "        return sizeof(float) * 2 * static_cast<std::size_t>(tensors)",
    "        return sizeof(float) * 1 * static_cast<std::size_t>(tensors)")
bug("too_few_blocks", "kernels/linear.cu", LINEAR, "no value", "blocks rounded down",
    "static_cast<unsigned>(divide_up(o, warp_lanes)), threads}",
    "static_cast<unsigned>(o < warp_lanes ? 1 : o / warp_lanes), threads}")

bug("slot_stride", "kernels/batch_norm_backward_passes.h", NORM_BACKWARD, "race", "slots that lie over each other",
    "        return slots + (std::int64_t{i} * quantities + quantity) * tiles.channels;",
    "        return slots + (std::int64_t{i} + quantity) * tiles.channels;")
bug("batch_slot", "kernels/input.cu", INPUT, "undeclared", "a ring that does not begin again",
    "slots.first + due % slots.slots * slots.bytes;", "slots.first + due * slots.bytes;")
bug("augment_workspace", "src/ops/cuda/augment_images.cpp", AUGMENT, "undeclared", "half of the workspace asked for",
    "op_from(desc, augment_workspace(plan),", "op_from(desc, augment_workspace(plan) / 2,")

# --- off by one, tails ---
bug("tail_off_by_one", "kernels/elementwise.cu", ELEMENTWISE, "undeclared", "<= for < at the tail",
    "    if (i < n) y[i] =", "    if (i <= n) y[i] =")
bug("tail_missing", "kernels/elementwise.cu", ELEMENTWISE, "no value", "the tail that fills no vector left out",
    "    if (i < n) y[i] =", "    if (i < 0) y[i] =")
bug("vector_over_the_end", "kernels/elementwise.cu", ELEMENTWISE, "undeclared", "the last vector not masked",
    "    const std::int64_t vectors = n / size, stride", "    const std::int64_t vectors = (n + size - 1) / size, stride")
bug("dropout_tail", "kernels/dropout.cu", HEAD, "undeclared", "a missing mask of the last quad",
    "        if (left >= 4) {", "        if (left >= 1) {")
bug("statistics_tail", "kernels/statistics.cu", UPDATE, "undeclared", "<= for < at the tail",
    "c < norm.channels;", "c <= norm.channels;")
bug("column_mask", "kernels/linear.cu", LINEAR, "undeclared", "a missing mask of columns",
    "    if (column < o)\n        for (std::int64_t row", "    if (o > 0)\n        for (std::int64_t row")
bug("short_slot", "kernels/channel_tiles.h", NORM, "undeclared", "a short last slot taken for a full one",
    "        slot_rows = left < t.slot_rows ? static_cast<int>(left) : t.slot_rows;",
    "        slot_rows = t.slot_rows;")
bug("short_slot_sum", "kernels/channel_tiles.h", POOL, "no value", "lines summed that a short slot does not have",
    "        parts = place.slot_rows < t.lines ? place.slot_rows : t.lines;", "        parts = t.lines;")
bug("rows_beyond_the_batch", "kernels/loss.cu", LOSS, "no value", "a sum over rows that a short batch does not have",
    "    const auto correct = sum_of<std::int64_t>(valid,", "    const auto correct = sum_of<std::int64_t>(n,")
bug("pool_window", "kernels/pool_window.h", POOL, "undeclared", "a window one row too high",
    "y1 = top + s.kernel < s.height ? top + s.kernel : s.height;",
    "y1 = top + s.kernel <= s.height ? top + s.kernel : s.height + 1;")
bug("pool_gather", "kernels/pool_window.h", POOL, "undeclared", "a missing bound of the output's rows",
    "    const int y1 = last_y < s.out_height ? last_y + 1 : s.out_height;", "    const int y1 = last_y + 1;")
bug("convolution_border", "kernels/conv2d_direct.cu", CONVOLUTION, "undeclared", "a missing test of the border",
    "                if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w) continue;\n                const T* const from = x",
    "                if (iy < 0 || ix < 0 || ix >= s.w) continue;\n                const T* const from = x")
bug("pixel_off_by_one", "kernels/input.cu", INPUT, "undeclared", "one pixel too many", "p < pixels; p += stride)",
    "p <= pixels; p += stride)")
bug("padding_written", "kernels/flat.h", UPDATE, "wrong numbers", "a missing mask of a parameter's last quad",
    "    if (valid == 4) {\n", "    if (valid > 0) {\n")

bug("batch_labels", "kernels/input.cu", INPUT, "undeclared", "<= for < at the tail",
    "for (std::int64_t i = first; i < batch; i +=", "for (std::int64_t i = first; i <= batch; i +=")
bug("confusion_rows", "kernels/confusion.cu", CONFUSION, "wrong numbers", "rows that a short batch does not have",
    "const std::int64_t valid = *count < n ? *count : n;", "const std::int64_t valid = n;")
bug("confusion_tail", "kernels/confusion.cu", CONFUSION, "undeclared", "a missing bound of the last block's rows",
    "    if (row >= valid) return;  // all lanes of the warp\n", "    if (*count < n && row >= valid) return;\n")
bug("concat_pool_lines", "kernels/concat_pool.cu", HEAD, "no value", "lines that a small image does not have",
    "const unsigned used = pixels < lines ? pixels : lines;", "const unsigned used = lines;")
bug("schedule_last_segment", "kernels/schedule.h", SCHEDULE, "no value", "the last segment of the schedule not loaded",
    "    for (int i = threadIdx.x; i < count; i += blockDim.x)", "    for (int i = threadIdx.x; i < count - 1; i += blockDim.x)")
bug("augment_weights", "kernels/augment.cu", AUGMENT, "no value", "the rest of a filter's weights left out",
    "        for (int k = taps.count; k < plan.taps; ++k) weights[k] = 0;\n", "")
bug("augment_luma_start", "kernels/augment.cu", AUGMENT, "no value", "a sum that begins with what is there",
    "        if (plan.rule.strong) work.luma_sum[n] = 0;\n", "")
bug("augment_last_column", "kernels/augment.cu", AUGMENT, "no value", "a missing mask of the last tile's columns",
    "        const int y = i / tile_columns, c = i % tile_columns;\n        if (c >= columns) continue;\n",
    "        const int y = i / tile_columns, c = i % tile_columns;\n")

bug("mix_short_batch", "kernels/mix.cu", MIX, "wrong numbers", "partners that a short batch does not have",
    "const int valid = *count < n ? *count : n;", "const int valid = n;")

# --- values ---
bug("dropout_numbers", "kernels/dropout.cu", HEAD, "wrong numbers", "neighbours that share their random numbers",
    "numbers.block(static_cast<std::uint32_t>(q));", "numbers.block(static_cast<std::uint32_t>(q / 2));")
bug("concat_pool_tie", "kernels/concat_pool.cu", HEAD, "wrong numbers", "of equal values the last wins",
    "if (equal ? at < place :", "if (equal ? at > place :")
bug("confusion_tie", "kernels/confusion.cu", CONFUSION, "wrong numbers", "of equal values whichever lane asks",
    "return a > b || (a == b && at < bt);", "return a > b;")
bug("augment_mirror", "kernels/augment.cu", AUGMENT, "wrong numbers", "a mirrored view one column off",
    "output = plan.size - 1 - output;", "output = plan.size - output;")
bug("augment_micro", "kernels/augment.cu", AUGMENT, "wrong numbers", "the micro batch of an update forgotten",
    "number_of(control->update, global_micro(*control), control->first_epoch);",
    "number_of(control->update, 0, control->first_epoch);")
bug("batch_micro", "kernels/input.cu", INPUT, "wrong numbers", "the micro batch of an update forgotten",
    "control->update * slots.accumulation + control->micro;", "control->update * slots.accumulation;")
bug("norm_pool_mask", "kernels/batch_norm_max_pool.cu", NORM_POOL, "wrong numbers", "a ReLU without its mask backward",
    "        pass.relu = true;\n", "")
bug("adam_steps", "kernels/optimizer.cu", OPTIMIZER, "wrong numbers", "a bias correction that counts from 0",
    "static_cast<double>(stage_step(*control) + 1);", "static_cast<double>(stage_step(*control));")

# --- operations and the step ---
bug("input_overwritten", "src/ops/cuda/elementwise.cpp", ELEMENTWISE, "undeclared", "an operation that writes to its input",
    "            add(output<T>(out, 0), input<T>(in, 0), input<T>(in, 1), n, stream);",
    "            add(const_cast<T*>(input<T>(in, 0)), input<T>(in, 0), input<T>(in, 1), n, stream);\n"
    "            add(output<T>(out, 0), input<T>(in, 0), input<T>(in, 1), n, stream);")
bug("edge_missing", "src/nn/dependencies.cpp", STEP, "graph order", "no edges from a writer to the readers in another branch",
    "    return touch(buffers, first.outputs, second.inputs) || touch(buffers, first.outputs, second.outputs) ||",
    "    return touch(buffers, first.outputs, second.outputs) ||")
bug("wait_missing", "src/device/cuda/device.cpp", STEP, "graph order", "a branch that does not wait for another",
    "            for (int earlier : work.waits) wait(stream, done_[static_cast<std::size_t>(earlier)]);\n",
    "            for (int earlier : work.waits)\n"
    "                if (work.branch > 0) wait(stream, done_[static_cast<std::size_t>(earlier)]);\n")
bug("memory_by_list", "src/nn/memory_plan.cpp", STEP, "graph order", "memory reused by the order of the list, not of the graph",
    "[&](int op) { return order.before(op, second.writer); });",
    "[&](int op) { return op < second.writer || order.before(op, second.writer); });")
bug("readers_forgotten", "src/nn/memory_plan.cpp", STEP, "graph order", "memory reused before its last reader",
    "        for (const auto* list : {&op.outputs, &op.inputs}) {",
    "        for (const auto* list : {&op.outputs}) {")
bug("workspace_shared", "src/nn/memory_plan.cpp", STEP, "graph order", "workspaces planned as if only the first step used them",
    "                {.bytes = op.workspace, .offset = &op.workspace_offset, .writer = i, .touched = {i}});",
    "                {.bytes = op.workspace, .offset = &op.workspace_offset, .writer = 0, .touched = {0}});")
bug("side_branch_begins", "src/device/cuda/device.cpp", STEP, "graph order", "a side branch that begins before its inputs are there",
    "            for (int earlier : work.waits) wait(stream, done_[static_cast<std::size_t>(earlier)]);\n",
    "            for (int earlier : work.waits)\n"
    "                if (work.branch == 0) wait(stream, done_[static_cast<std::size_t>(earlier)]);\n")
bug("undeclared_output", "src/ops/cuda/confusion.cpp", CONFUSION, "undeclared", "an operation that counts into its labels",
    "count_confusion(output<std::int32_t>(out, 0), input<float>(in, 0),",
    "count_confusion(const_cast<std::int32_t*>(input<std::int32_t>(in, 1)), input<float>(in, 0),")

# --- copies beside the steps ---
bug("side_copy_early", "src/device/cuda/side_copy.cpp", SIDE_COPY, "wrong numbers",
    "a copy to the host that does not wait for the one within the device",
    "    ONECYCLE_CALL_CUDA(cudaStreamWaitEvent, side_.get(), taken_.get(), 0u);\n", "")
bug("side_copy_of_the_living", "src/device/cuda/side_copy.cpp", SIDE_COPY, "wrong numbers",
    "a next step that does not wait until the state is copied",
    "    for (std::size_t i = 0; i < pieces_.size(); ++i)\n"
    "        if (pieces_[i].bytes)\n"
    "            ONECYCLE_CALL_CUDA(cudaMemcpyAsync, on_device_.data() + offsets_[i], pieces_[i].from,\n"
    "                               pieces_[i].bytes, cudaMemcpyDeviceToDevice, main_);\n"
    "    ONECYCLE_CALL_CUDA(cudaEventRecord, taken_.get(), main_);\n"
    "    ONECYCLE_CALL_CUDA(cudaStreamWaitEvent, side_.get(), taken_.get(), 0u);\n",
    "    ONECYCLE_CALL_CUDA(cudaEventRecord, taken_.get(), main_);\n"
    "    ONECYCLE_CALL_CUDA(cudaStreamWaitEvent, side_.get(), taken_.get(), 0u);\n"
    "    for (std::size_t i = 0; i < pieces_.size(); ++i)\n"
    "        if (pieces_[i].bytes)\n"
    "            ONECYCLE_CALL_CUDA(cudaMemcpyAsync, on_device_.data() + offsets_[i], pieces_[i].from,\n"
    "                               pieces_[i].bytes, cudaMemcpyDeviceToDevice, side_.get());\n")
bug("side_copy_not_awaited", "src/device/cuda/side_copy.cpp", SIDE_COPY, "wrong numbers",
    "a host that reads what has not arrived",
    "    ONECYCLE_CALL_CUDA(cudaEventSynchronize, arrived_.get());\n", "")
bug("side_copy_event", "src/device/cuda/side_copy.cpp", SIDE_COPY, "wrong numbers",
    "an event recorded before the copy that it stands for",
    "    ONECYCLE_CALL_CUDA(cudaMemcpyAsync, on_host_, on_device_.data(), on_device_.size(),\n"
    "                       cudaMemcpyDeviceToHost, side_.get());\n"
    "    ONECYCLE_CALL_CUDA(cudaEventRecord, arrived_.get(), side_.get());\n",
    "    ONECYCLE_CALL_CUDA(cudaEventRecord, arrived_.get(), side_.get());\n"
    "    ONECYCLE_CALL_CUDA(cudaMemcpyAsync, on_host_, on_device_.data(), on_device_.size(),\n"
    "                       cudaMemcpyDeviceToHost, side_.get());\n")
