import Hummingbird
import Crypto
import Logging
