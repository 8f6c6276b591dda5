# Parts that are loaded at run time. Both find the symbols marked KB_API in the program `kubus`: it
# comes first when they are linked, so no second copy of the bus gets into them, and whatever is
# neither there nor in their own libraries is an error of the build.

# kubus_module(NAME SOURCES … LIBRARIES …): lib/kubus/NAME.so with kb_module_main, run by
# `kubus actor NAME`.
function(kubus_module name)
    cmake_parse_arguments(M "" "" "SOURCES;LIBRARIES" ${ARGN})
    add_library(module_${name} MODULE ${M_SOURCES})
    target_include_directories(module_${name} PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_definitions(module_${name} PRIVATE _GNU_SOURCE)
    target_link_libraries(module_${name} PRIVATE kubus ${M_LIBRARIES})
    set_target_properties(module_${name} PROPERTIES
        OUTPUT_NAME ${name} PREFIX ""
        LIBRARY_OUTPUT_DIRECTORY ${KUBUS_LIB_OUTPUT})
    kubus_resolve_all(module_${name})
    install(TARGETS module_${name} LIBRARY DESTINATION ${KUBUS_LIB_INSTALL})
endfunction()

# kubus_plugin(NAME SOURCES … [LIBRARIES …]): lib/kubus/plugins/NAME.so; includes <kubus/…> alone.
function(kubus_plugin name)
    cmake_parse_arguments(P "" "" "SOURCES;LIBRARIES" ${ARGN})
    add_library(plugin_${name} MODULE ${P_SOURCES})
    target_include_directories(plugin_${name} PRIVATE ${CMAKE_BINARY_DIR}/include
        ${PROJECT_SOURCE_DIR})
    target_compile_definitions(plugin_${name} PRIVATE _GNU_SOURCE)
    target_link_libraries(plugin_${name} PRIVATE kubus ${P_LIBRARIES})
    set_target_properties(plugin_${name} PROPERTIES
        OUTPUT_NAME ${name} PREFIX ""
        LIBRARY_OUTPUT_DIRECTORY ${KUBUS_LIB_OUTPUT}/plugins)
    kubus_resolve_all(plugin_${name})
    install(TARGETS plugin_${name} LIBRARY DESTINATION ${KUBUS_LIB_INSTALL}/plugins)
endfunction()

function(kubus_resolve_all target)
    if(NOT KUBUS_SANITIZE) # the sanitizers' own symbols are in the program
        target_link_options(${target} PRIVATE -Wl,-z,defs)
    endif()
endfunction()
