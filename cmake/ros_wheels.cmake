# SPDX-License-Identifier: Apache-2.0
# For builds against the PyPI ros-* wheels only (-DCMAKE_PROJECT_INCLUDE=cmake/ros_wheels.cmake).
# The wheels' *__rosidl_generator_py targets export include directories of the container they were built in;
# CMake refuses to generate while those do not exist, so they are dropped once all packages are found.
function(ros_wheels_drop_missing_includes)
  get_property(targets DIRECTORY "${CMAKE_SOURCE_DIR}" PROPERTY IMPORTED_TARGETS)
  list(FILTER targets INCLUDE REGEX "__rosidl_generator_py$")
  foreach(target IN LISTS targets)
    get_target_property(dirs ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(dirs)
      set(kept "")
      foreach(dir IN LISTS dirs)
        if(dir MATCHES "^\\$<" OR EXISTS "${dir}")
          list(APPEND kept "${dir}")
        endif()
      endforeach()
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${kept}")
    endif()
  endforeach()
endfunction()
cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL ros_wheels_drop_missing_includes)
