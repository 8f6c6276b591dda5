# The target kubus_zmq: libzmq, statically where that is possible. Dynamically it brings twenty libraries
# into each process, for transports and mechanisms that we never use; see zmq_unused.c.
add_library(kubus_zmq INTERFACE)

set(static_default ON)
if(KUBUS_SANITIZE)
    set(static_default OFF)
endif()
option(KUBUS_STATIC_ZMQ "Link libzmq statically when its archive is there" ${static_default})

set(zmq_archives "")
if(KUBUS_STATIC_ZMQ)
    foreach(name zmq stdc++ sodium bsd md)
        execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=lib${name}.a
            OUTPUT_VARIABLE archive OUTPUT_STRIP_TRAILING_WHITESPACE)
        if(IS_ABSOLUTE "${archive}")
            list(APPEND zmq_archives ${archive})
        endif()
    endforeach()
    # Does it link? Another release of libzmq may want other stand-ins.
    file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/zmq_try.c
        "#include <zmq.h>\nint main(void) { return zmq_ctx_new() == NULL; }\n")
    try_compile(KUBUS_ZMQ_LINKS ${CMAKE_CURRENT_BINARY_DIR}/zmq_try
        SOURCES ${CMAKE_CURRENT_BINARY_DIR}/zmq_try.c ${CMAKE_CURRENT_SOURCE_DIR}/zmq_unused.c
            ${PROJECT_SOURCE_DIR}/bus/base/err.c
        CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${PROJECT_SOURCE_DIR};${ZMQ_INCLUDE_DIRS}"
        COMPILE_DEFINITIONS -D_GNU_SOURCE
        LINK_OPTIONS -static-libgcc
        LINK_LIBRARIES ${zmq_archives} m Threads::Threads)
endif()

if(KUBUS_ZMQ_LINKS)
    message(STATUS "libzmq: static")
    add_library(kubus_zmq_unused STATIC zmq_unused.c)
    target_link_libraries(kubus_zmq_unused PUBLIC kubus_base)
    target_include_directories(kubus_zmq INTERFACE ${ZMQ_INCLUDE_DIRS})
    target_link_libraries(kubus_zmq INTERFACE ${zmq_archives} kubus_zmq_unused m Threads::Threads)
    # Hidden, so that what is never called can go.
    target_link_options(kubus_zmq INTERFACE -static-libgcc -Wl,--gc-sections
        -Wl,--exclude-libs,libzmq.a:libstdc++.a:libsodium.a:libbsd.a:libmd.a:libgcc_eh.a)
else()
    message(STATUS "libzmq: dynamic")
    target_link_libraries(kubus_zmq INTERFACE PkgConfig::ZMQ)
endif()
