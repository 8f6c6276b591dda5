# Parts that are loaded at run time. They take the symbols marked KB_API from the program `kubus`, so
# that there is one copy of the bus in a process. Of our own static libraries (kubus_…) a part gets
# the objects alone, without the libraries behind them, for those are in the program; libraries of
# others are named in full. The test `symbols` checks both: nothing missing, nothing twice.

function(kubus_link_part target)
    foreach(library ${ARGN})
        if(library MATCHES "^kubus_")
            target_sources(${target} PRIVATE $<TARGET_OBJECTS:${library}>)
        else()
            target_link_libraries(${target} PRIVATE ${library})
        endif()
    endforeach()
    set_property(GLOBAL APPEND PROPERTY KUBUS_LOADED $<TARGET_FILE:${target}>)
endfunction()

# kubus_module(NAME SOURCES … LIBRARIES …): lib/kubus/NAME.so with kb_module_main, run by
# `kubus actor NAME`.
function(kubus_module name)
    cmake_parse_arguments(M "" "" "SOURCES;LIBRARIES" ${ARGN})
    add_library(module_${name} MODULE ${M_SOURCES})
    target_include_directories(module_${name} PRIVATE ${CMAKE_BINARY_DIR}/include
        ${PROJECT_SOURCE_DIR})
    target_compile_definitions(module_${name} PRIVATE _GNU_SOURCE)
    kubus_link_part(module_${name} ${M_LIBRARIES})
    set_target_properties(module_${name} PROPERTIES
        OUTPUT_NAME ${name} PREFIX ""
        LIBRARY_OUTPUT_DIRECTORY ${KUBUS_LIB_OUTPUT})
    install(TARGETS module_${name} LIBRARY DESTINATION ${KUBUS_LIB_INSTALL})
endfunction()

# kubus_policy(NAME SOURCES …): lib/kubus/policies/NAME.so, a scheduling policy that is found by its
# name, live and in simulations. Includes <kubus/policy.h> alone and links nothing of ours.
function(kubus_policy name)
    cmake_parse_arguments(P "" "" "SOURCES" ${ARGN})
    add_library(policy_${name} MODULE ${P_SOURCES})
    target_include_directories(policy_${name} PRIVATE ${CMAKE_BINARY_DIR}/include)
    target_compile_options(policy_${name} PRIVATE -O3)
    target_link_libraries(policy_${name} PRIVATE m)
    set_property(GLOBAL APPEND PROPERTY KUBUS_LOADED $<TARGET_FILE:policy_${name}>)
    set_target_properties(policy_${name} PROPERTIES
        OUTPUT_NAME ${name} PREFIX ""
        LIBRARY_OUTPUT_DIRECTORY ${KUBUS_LIB_OUTPUT}/policies)
    install(TARGETS policy_${name} LIBRARY DESTINATION ${KUBUS_LIB_INSTALL}/policies)
endfunction()

# kubus_plugin(NAME SOURCES … [LIBRARIES …]): lib/kubus/plugins/NAME.so; includes <kubus/…> alone.
function(kubus_plugin name)
    cmake_parse_arguments(P "" "" "SOURCES;LIBRARIES" ${ARGN})
    add_library(plugin_${name} MODULE ${P_SOURCES})
    target_include_directories(plugin_${name} PRIVATE ${CMAKE_BINARY_DIR}/include
        ${PROJECT_SOURCE_DIR})
    target_compile_definitions(plugin_${name} PRIVATE _GNU_SOURCE)
    kubus_link_part(plugin_${name} ${P_LIBRARIES})
    set_target_properties(plugin_${name} PROPERTIES
        OUTPUT_NAME ${name} PREFIX ""
        LIBRARY_OUTPUT_DIRECTORY ${KUBUS_LIB_OUTPUT}/plugins)
    install(TARGETS plugin_${name} LIBRARY DESTINATION ${KUBUS_LIB_INSTALL}/plugins)
endfunction()
