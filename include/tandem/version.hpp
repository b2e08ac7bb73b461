/// The version of Tandem. This file is the one place that holds it: CMake reads it from here.
#pragma once

#define TANDEM_VERSION_MAJOR 0
#define TANDEM_VERSION_MINOR 1
#define TANDEM_VERSION_PATCH 0
