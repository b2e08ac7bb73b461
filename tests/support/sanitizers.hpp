/// Which sanitizer this program is built with.
#pragma once

namespace tandem::testing {

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TANDEM_TEST_THREAD_SANITIZER
#elif __has_feature(address_sanitizer)
#define TANDEM_TEST_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define TANDEM_TEST_THREAD_SANITIZER
#elif defined(__SANITIZE_ADDRESS__)
#define TANDEM_TEST_ADDRESS_SANITIZER
#endif

#ifdef TANDEM_TEST_THREAD_SANITIZER
inline constexpr bool kThreadSanitized = true;
#else
inline constexpr bool kThreadSanitized = false;
#endif
#ifdef TANDEM_TEST_ADDRESS_SANITIZER
inline constexpr bool kAddressSanitized = true;
#else
inline constexpr bool kAddressSanitized = false;
#endif
/// Any of them: they make programs slow and large.
inline constexpr bool kSanitized = kThreadSanitized || kAddressSanitized;

}  // namespace tandem::testing
