// What is known of a job before it is joined.
#pragma once

namespace onecycle {

// Which rank this process will be, as its launcher says; 0 where none started it.
int launched_rank();

}  // namespace onecycle
