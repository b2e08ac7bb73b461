/// What the numbers of functions in tasks stand for.
#pragma once

#include <cstddef>
#include <vector>

#include <tandem/detail/remote_task.hpp>

namespace tandem::detail {

/// The function that a number stands for, as Encoder::write_code() writes it.
std::vector<std::byte> code_definition(CodeNumber number);

}  // namespace tandem::detail
