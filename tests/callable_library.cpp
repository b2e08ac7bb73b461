// A shared library of a user's, with functions in it that are to run elsewhere.
#include <string>

#include <tandem/callable.hpp>

namespace {

int length_of(const std::string& text, int factor) {
#ifdef TANDEM_OTHER_BUILD
  return -static_cast<int>(text.size()) * factor;
#else
  return static_cast<int>(text.size()) * factor;
#endif
}

}  // namespace

extern "C" void encode_length_call(tandem::detail::Encoder& encoder, const char* text, int factor) {
  tandem::detail::encode_call<decltype(length_of), std::string, int>(encoder, length_of, text, factor);
}
