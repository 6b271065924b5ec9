import Hummingbird
import NIOCore
import VMSyncAPI
import VMSyncCore

/// An error with a status that says more than that of its code.
package struct StatusError: Error {
    let status: Int
    let error: VMSyncError

    package init(status: Int, error: VMSyncError) {
        self.status = status
        self.error = error
    }
}

/// Turns every error into a problem.
package struct Problems<Context: RequestContext>: RouterMiddleware {
    private let worded: @Sendable (VMSyncError, Context) async -> VMSyncError

    /// - Parameter worded: an error as whoever asks should read it.
    package init(worded: @escaping @Sendable (VMSyncError, Context) async -> VMSyncError = { error, _ in error }) {
        self.worded = worded
    }

    package func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let failure as StatusError {
            return try response(Problem(failure.error, status: failure.status))
        } catch is NIOTooManyBytesError {
            return try response(Problem(VMSyncError(.invalidInput, "the body is too long"), status: 413))
        } catch let error as HTTPError where error.status == .notFound {
            return try response(Problem(VMSyncError(.notFound, "there is no \(request.method) \(request.uri.path)")))
        } catch {
            return try response(Problem(await worded(VMSyncError(error), context)))
        }
    }

    private func response(_ problem: Problem) throws -> Response {
        Response(
            status: .init(code: problem.status, reasonPhrase: problem.title),
            headers: [.contentType: Problem.mediaType],
            body: ResponseBody(byteBuffer: try WireJSON.encode(problem)))
    }
}
