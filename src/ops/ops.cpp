#include "ops/ops.h"

namespace onecycle {

namespace {

struct KindRow {
    const char* name;
    bool in_place;
};

constexpr bool in_place = true, replaces = false;
constexpr KindRow rows[] = {
#define ONECYCLE_ROW(kind, writes) {#kind, writes},
    ONECYCLE_OP_KINDS(ONECYCLE_ROW, ONECYCLE_ROW)
#undef ONECYCLE_ROW
};

}  // namespace

const char* name_of(OpKind kind) {
    return rows[static_cast<std::size_t>(kind)].name;
}

bool works_in_place(OpKind kind) {
    return rows[static_cast<std::size_t>(kind)].in_place;
}

}  // namespace onecycle
