// Words on their way to a pipe or a terminal. A reader may stop reading for hours (Ctrl-S, a pager)
// without holding anything up: a thread writes, and what finds no room is left out.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace onecycle::cli {

class OutputQueue {
  public:
    // `file` is a descriptor. Only what a reader can hold up, a pipe, a terminal or a socket, gets a
    // thread; to anything else each call writes by itself.
    explicit OutputQueue(int file);
    // Waits as deliver() does.
    ~OutputQueue();
    OutputQueue(const OutputQueue&) = delete;
    OutputQueue& operator=(const OutputQueue&) = delete;

    // Never waits. Where nobody has read for long, the text is left out, and later a line says how
    // many were.
    void offer(std::string_view text);

    // True when everything so far has gone out: what is soon out of date is offered only then.
    bool idle() const;

    // Waits until this and all before it has gone out; once a stop signal has come, for a second at
    // most, all such waiting together. Returns 0 or the errno of what failed meanwhile; EINTR: given
    // up after a signal.
    int deliver(std::string_view text);

    // Whether both descriptors are of one pipe, terminal or file.
    static bool same(int one, int other);

  private:
    struct Shared;
    std::shared_ptr<Shared> shared_;  // the thread has it, too: it may be left behind in a write
};

}  // namespace onecycle::cli
