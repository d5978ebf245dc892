// A library for test_library to find.
extern "C" int onecycle_found() {
    return 42;
}
