# Install rules and the package config, so that another project can find_package(ounce).
include(CMakePackageConfigHelpers)

install(TARGETS ounce_graph ounce_engine ounce_engine_file ounce_runtime EXPORT ounce-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES src/capi/ounce.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
file(RELATIVE_PATH OUNCE_PC_INCLUDE /${CMAKE_INSTALL_LIBDIR}/pkgconfig /${CMAKE_INSTALL_INCLUDEDIR})
configure_file(cmake/ounce.pc.in ${CMAKE_BINARY_DIR}/ounce.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/ounce.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(DIRECTORY src/graph src/engine DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ounce
        FILES_MATCHING PATTERN "*.h")
install(DIRECTORY src/formats/ounce_file DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ounce/formats
        FILES_MATCHING PATTERN "*.h")
install(EXPORT ounce-targets NAMESPACE ounce:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/ounce)
configure_package_config_file(cmake/ounceConfig.cmake.in ${CMAKE_BINARY_DIR}/ounceConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/ounce)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/ounceConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/ounceConfig.cmake ${CMAKE_BINARY_DIR}/ounceConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/ounce)

# The manual page ounce(1), made from docs/cli.md.
find_program(OUNCE_AWK awk)
if(OUNCE_AWK AND NOT OUNCE_ENGINE_ONLY)
  set(man_page ${CMAKE_BINARY_DIR}/generated/ounce.1)
  add_custom_command(
    OUTPUT ${man_page}
    COMMAND ${OUNCE_AWK} -f ${PROJECT_SOURCE_DIR}/cmake/man_page.awk
            ${PROJECT_SOURCE_DIR}/docs/cli.md > ${man_page}
    DEPENDS ${PROJECT_SOURCE_DIR}/cmake/man_page.awk ${PROJECT_SOURCE_DIR}/docs/cli.md
    VERBATIM)
  add_custom_target(ounce_man_page ALL DEPENDS ${man_page})
  install(FILES ${man_page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
