# The report page opens offline, so its parts are compiled into ounce: our template, style and script
# from web/report, and the charts library that `npm ci` installed in web/.
set(OUNCE_WEB ${PROJECT_SOURCE_DIR}/web)
set(OUNCE_WEB_MODULES ${OUNCE_WEB}/node_modules CACHE PATH "Where `npm ci` put the packages of web/")
set(OUNCE_CHARTS ${OUNCE_WEB_MODULES}/chart.js/dist/chart.umd.min.js)
set(OUNCE_PAGE_LICENSES ${OUNCE_WEB_MODULES}/chart.js/LICENSE.md
                        ${OUNCE_WEB_MODULES}/@kurkle/color/LICENSE.md)
foreach(file ${OUNCE_CHARTS} ${OUNCE_PAGE_LICENSES})
  if(NOT EXISTS ${file})
    message(FATAL_ERROR "the report page needs ${file}, which is missing.\n"
                        "Run `./dev setup`, or `npm ci` in web/.")
  endif()
endforeach()

set(page_parts ${OUNCE_WEB}/report/page.html ${OUNCE_WEB}/report/page.css
               ${OUNCE_WEB}/report/page.js ${OUNCE_CHARTS} ${OUNCE_PAGE_LICENSES})
set(page_assets ${CMAKE_BINARY_DIR}/generated/report/page_assets.cpp)
add_custom_command(
  OUTPUT ${page_assets}
  COMMAND ${CMAKE_COMMAND} "-DOUTPUT=${page_assets}" "-DWEB=${OUNCE_WEB}"
          "-DCHARTS=${OUNCE_CHARTS}" "-DLICENSES=${OUNCE_PAGE_LICENSES}"
          -P ${PROJECT_SOURCE_DIR}/cmake/embed_report_page.cmake
  DEPENDS ${page_parts} ${PROJECT_SOURCE_DIR}/cmake/embed_report_page.cmake
  COMMENT "Embedding the report page"
  VERBATIM)
target_sources(ounce_report PRIVATE ${page_assets})
